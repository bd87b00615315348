"""The kernels of shifted group convolutions: interpreted and compiled anywhere, run on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.shift import DIRECTIONS, Shift
from backbones.shift.block import AddressBlock
from backbones.shift.map import shifted
from backbones.shift.mixing import Mixing
from backbones.shift.pointwise import ShiftedPointwise, runs_on_triton
from backbones.shift.shape import Place, Variant, shapes
from tests.backbones.closeness import TOLERANCE, relative_error
from tests.backbones.small_sites import shake

CASES: Mapping[str, tuple[Mixing, tuple[int, int, int]]] = {
    "block's": (Mixing(Shift(96, 24, DIRECTIONS[4]), 16, 2), (2, 9, 8)),
    "one group, odd": (Mixing(Shift(13, 5, DIRECTIONS[4]), 7), (2, 5, 7)),
    "three groups": (Mixing(Shift(36, 6, DIRECTIONS[4]), 54, 3), (2, 6, 5)),
    "stride": (Mixing(Shift(24, 6, DIRECTIONS[5]), 8, 2, (2, 2)), (2, 9, 8)),
    "uneven stride": (Mixing(Shift(40, 10, DIRECTIONS[8]), 4, 2, (3, 1)), (2, 7, 5)),
    "nine directions, wrapping": (Mixing(Shift(38, 9, DIRECTIONS[9], "wrap"), 4, 2), (2, 5, 4)),
    "wrapping stride": (Mixing(Shift(16, 4, DIRECTIONS[4], "wrap"), 8, 2, (1, 2)), (3, 4, 5)),
    "rotation": (Mixing(Shift(48, 8), 48, 3), (5, 6, 7)),
    "neither": (Mixing(Shift(12), 70, 2), (2, 5, 5)),
    "one pixel": (Mixing(Shift(8, 2, DIRECTIONS[4]), 4, 2), (3, 1, 1)),
    "one pixel, wrapping": (Mixing(Shift(20, 2, DIRECTIONS[9], "wrap"), 4, 2), (1, 1, 1)),
    "many pixels": (Mixing(Shift(16, 4, DIRECTIONS[4]), 4, 2), (9, 13, 12)),
}
HALF = ("stride", "rotation")
"""Also interpreted in half precision, which takes as long as single."""
every = pytest.mark.parametrize("name", CASES)


# --- anywhere --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interpreted(repository: Path) -> Mapping[str, float]:
    """Run every case in a child process, in which Triton interprets its kernels."""
    child = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", __file__],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    lines = (line.rpartition(": ") for line in child.stdout.splitlines())
    return {name: float(error) for name, _, error in lines}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float32") for name in CASES), *((name, "float16") for name in HALF)],
)
def test_interpreted_they_give_what_the_plain_path_gives(
    name: str, dtype: str, interpreted: Mapping[str, float]
) -> None:
    tolerance = TOLERANCE[getattr(torch, dtype)]
    found = {key: error for key, error in interpreted.items() if key.startswith(f"{name}, {dtype}")}
    assert len(found) == 9, "a case is missing"
    assert {key: error for key, error in found.items() if not error < tolerance} == {}


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("block's", "bf16"),
        # ahead of time each takes seconds
        pytest.param("block's", "fp32", marks=pytest.mark.slow),
        pytest.param("block's", "fp16", marks=pytest.mark.slow),
        pytest.param("nine directions, wrapping", "fp32", marks=pytest.mark.slow),
    ],
)
def test_they_compile_for_a_gpu_that_is_not_there(
    name: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from backbones.shift import kernels, launch

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    mixing, _ = CASES[name]
    constants = launch.constants(mixing, launch.Tiles.of(mixing))
    options = {"enable_fp_fusion": constants.pop("enable_fp_fusion")}
    compiled: dict[Any, dict[str, Any]] = {
        kernels.forward_kernel: {"HAS_BIAS": True, "RELU": True},
        kernels.input_kernel: {},
        kernels.weight_kernel: {"SPLITS": 8},
    }
    types = dict.fromkeys(("x", "w", "y", "gx", "gy", "gw"), f"*{dtype}")
    types |= {"bias": "*fp32", "partial": "*fp32", "tickets": "*i32"}
    for kernel, more in compiled.items():
        known = {**constants, **more}
        signature = {
            given: "constexpr" if given in known else types.get(given, "i32")
            for given in kernel.arg_names
        }
        places = {(kernel.arg_names.index(key),): value for key, value in known.items()}
        source = ASTSource(kernel, signature, constexprs=places)
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        assert made.asm["cubin"]


def test_on_a_cpu_they_are_not_chosen() -> None:
    assert not runs_on_triton(torch.randn(1, 8, 3, 3))


def test_maps_are_shifted_without_triton(repository: Path) -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch\n"
        "from backbones.networks.addressnet import addressnet_20\n"
        "network = addressnet_20(classes=10)\n"
        "network(torch.randn(2, 3, 32, 32)).sum().backward()\n"
        "with torch.no_grad(): network.eval()(torch.randn(2, 3, 32, 32))\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr


# --- on a GPU --------------------------------------------------------------------------------


def launches(work: Any) -> list[str]:
    """Return the names of the kernels that some work launches, after once to warm up."""
    work()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    return [e.name for e in profile.events() or () if str(e.device_type) == "DeviceType.CUDA"]


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@every
def test_on_a_gpu_they_give_what_the_plain_path_gives(name: str, dtype: torch.dtype) -> None:
    found = differences(name, dtype, device="cuda")
    assert {key: error for key, error in found.items() if not error < TOLERANCE[dtype]} == {}


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize("name", ["block's", "stride", "many pixels"])
def test_both_shifts_and_the_convolution_are_one_launch_each_way(name: str) -> None:
    mixing, (images, height, width) = CASES[name]
    layer = ShiftedPointwise(
        mixing.shift, mixing.outputs, groups=mixing.groups, stride=mixing.stride
    ).to("cuda")
    x = torch.randn(images, mixing.shift.channels, height, width, device="cuda")
    with torch.no_grad():
        assert launches(lambda: layer(x)) == ["forward_kernel"]
    for wanted, kernel in ((x, "input_kernel"), (layer.conv.weight, "weight_kernel")):
        x.requires_grad_(wanted is x)
        layer.requires_grad_(wanted is not x)
        y = layer(x)
        work = partial(torch.autograd.grad, y, wanted, torch.ones_like(y), retain_graph=True)
        assert launches(work) == [kernel]


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize("shortcut", ["shift", "add"])
def test_a_block_on_a_gpu_is_its_like_on_a_cpu(shortcut: Any) -> None:
    places = [Place(8, 16, (2, 2)), Place(16, 16), Place(16, 16)]
    made = [AddressBlock(shape) for shape in shapes(places, Variant(shortcut=shortcut))]
    blocks = nn.Sequential(*made)
    shake(blocks)
    x = torch.randn(4, 8, 17, 16)
    with torch.no_grad():
        wanted = blocks.eval()(x)
        fused = nn.Sequential(*(block.fused() for block in made)).to("cuda")
        assert relative_error(fused(x.to("cuda")), wanted) < TOLERANCE[torch.float32]
        last = x.to("cuda", memory_format=torch.channels_last)
        assert relative_error(blocks.to("cuda")(last), wanted) < TOLERANCE[torch.float32]
        ran = launches(lambda: fused.get_submodule("1")(torch.ones(4, 16, 9, 8, device="cuda")))
        assert sum("forward_kernel" in kernel for kernel in ran) == 2


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
def test_the_gradient_of_a_weight_is_the_same_at_every_run() -> None:
    found = [differences_of_weight(seed=0) for _ in range(3)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def differences_of_weight(*, seed: int) -> Tensor:
    from backbones.shift.launch import weight_gradient

    mixing = CASES["block's"][0]
    draw = torch.Generator("cuda").manual_seed(seed)
    x = torch.randn(64, 96, 32, 32, device="cuda", generator=draw)
    grad = torch.randn(64, 16, 32, 32, device="cuda", generator=draw)
    return weight_gradient(grad, x, mixing, like=torch.empty(16, 48, 1, 1, device="cuda"))


# --- both ------------------------------------------------------------------------------------


def differences(name: str, dtype: torch.dtype, *, device: str = "cpu") -> dict[str, float]:
    """Compare the kernels with convolutions of the shifted map in double precision."""
    from backbones.shift import launch

    mixing, (images, height, width) = CASES[name]
    found: dict[str, float] = {}
    draw = torch.Generator().manual_seed(0)
    shape = (images, mixing.shift.channels, height, width)
    layouts = {"usual": torch.contiguous_format, "last": torch.channels_last}
    weight = torch.randn(
        mixing.outputs, mixing.shift.channels // mixing.groups, 1, 1, generator=draw
    )
    weight = weight.to(device, dtype).requires_grad_()
    bias = torch.randn(mixing.outputs, generator=draw).to(device, dtype)
    for layout, memory_format in layouts.items():
        x = torch.randn(shape, generator=draw).to(device, dtype, memory_format=memory_format)
        x.requires_grad_()
        y = launch.convolve(x, weight, None, mixing)
        exact = [each.detach().double().requires_grad_() for each in (x, weight)]
        moved = shifted(exact[0], mixing.shift, stride=mixing.stride)
        wanted = functional.conv2d(moved, exact[1], groups=mixing.groups)
        grad = torch.randn(wanted.shape, generator=draw).to(device, dtype)
        pairs = {
            "output": (y, wanted),
            **{
                what: (a, b)
                for what, a, b in zip(
                    ("input", "weight"),
                    torch.autograd.grad(y, (x, weight), grad),
                    torch.autograd.grad(wanted, exact, grad.double()),
                    strict=True,
                )
            },
        }
        if layout == "usual":
            pairs |= _of_inference(x.detach(), weight.detach(), bias, mixing)
        for what, (actual, expected) in pairs.items():
            found[f"{name}, {dtype}, {layout}, {what}".replace("torch.", "")] = relative_error(
                actual, expected
            )
    return found


def _of_inference(
    x: Tensor, weight: Tensor, bias: Tensor, mixing: Mixing
) -> dict[str, tuple[Tensor, Tensor]]:
    """Write into a slice, with and without a ReLU, and from a map that was moved on already."""
    from backbones.shift import launch

    moved = shifted(x.double(), mixing.shift, stride=mixing.stride)
    wanted = functional.conv2d(moved, weight.double(), bias.double(), groups=mixing.groups)
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    around = x.new_zeros(wanted.shape[0], wanted.shape[1] + 5, *wanted.shape[2:])
    launch.forward(turned, weight, bias, mixing, out=around[:, 3:-2], relu=True)
    assert not around[:, :3].any()
    assert not around[:, -2:].any()
    still = replace(mixing, shift=Shift(mixing.shift.channels))
    y = launch.convolve(x, weight, bias, still)
    plain = functional.conv2d(
        x.double()[:, :, :: mixing.stride[0], :: mixing.stride[1]],
        weight.double(),
        bias.double(),
        groups=mixing.groups,
    )
    return {
        "ReLU": (around[:, 3:-2], wanted.relu()),
        "bias": (launch.convolve(x, weight, bias, mixing), wanted),
        "still": (y, plain),
    }


def main() -> None:
    """Print the relative error of everything, as the process of `interpreted`."""
    from backbones.shift import launch

    torch.set_num_threads(1)
    # so few that the pixels of one tile are shared out, too
    launch.PROGRAMS = 24
    for dtype, names in ((torch.float32, CASES), (torch.float16, HALF)):
        for name in names:
            for what, error in differences(name, dtype).items():
                sys.stdout.write(f"{what}: {error}\n")


if __name__ == "__main__":
    main()
