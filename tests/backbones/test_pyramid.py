"""Any backbone as maps of several strides."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from backbones import method as registry
from backbones.build import Anneals, build, end_schedules
from backbones.check import check
from backbones.errors import BackboneError, UnsupportedNetworkError
from backbones.pyramid import Pyramid, make_pyramid
from backbones.resolve import resolve
from tests.backbones.closeness import relative_error

# channels and strides as detection studies and the papers' stage tables have them
MAPS = {
    "resnet50": ((256, 512, 1024, 2048), (4, 8, 16, 32)),
    "resnet18(stem=small)": ((64, 128, 256, 512), (1, 2, 4, 8)),
    "mobilenetv2_100": ((24, 32, 96, 1280), (4, 8, 16, 32)),
    "mobilenetv3_large_100": ((24, 40, 112, 960), (4, 8, 16, 32)),
    "convnext_tiny": ((96, 192, 384, 768), (4, 8, 16, 32)),
    "densenet121": ((256, 512, 1024, 1024), (4, 8, 16, 32)),
    "vgg16_bn": ((256, 512, 512, 512), (4, 8, 16, 32)),
    "shufflenet_v2_x1_0": ((24, 116, 232, 1024), (4, 8, 16, 32)),
    "mambaout_femto": ((48, 96, 192, 288), (4, 8, 16, 32)),
    "deit_tiny_patch16_224": ((48, 96, 192, 192), (4, 8, 16, 32)),
    "resnet20_cifar": ((16, 32, 64), (1, 2, 4)),
    "vgg16_cifar": ((256, 512, 512, 512), (4, 8, 16, 32)),
}

NETWORKS = ("resnet18", "mobilenetv2_100", "efficientnet_b0")
"""For each method the first that it serves."""


def served(method: str) -> str:
    for network in NETWORKS:
        try:
            return str(check(f"{network}/{method}"))
        except BackboneError:
            continue
    return f"{NETWORKS[0]}/{method}"  # fails with the reason


def small(text: str = "resnet18/conv", **options: object) -> Pyramid:
    make: Callable[..., Pyramid] = make_pyramid
    return make(text, **options).eval()


def images(height: int = 64, width: int = 96, count: int = 2) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("network", MAPS)
def test_declared_channels_and_strides_are_those_of_the_maps(network: str) -> None:
    pyramid = make_pyramid(f"{network}/conv", device="meta")
    assert (pyramid.channels, pyramid.strides) == MAPS[network]
    for training, (height, width) in ((True, (224, 320)), (False, (64, 128))):
        maps = pyramid.train(training)(torch.empty(2, 3, height, width, device="meta"))
        assert [tuple(one.shape) for one in maps] == [
            (2, channels, height // stride, width // stride)
            for channels, stride in zip(pyramid.channels, pyramid.strides, strict=True)
        ]


@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet:FutureWarning")
def test_classifiers_beside_the_last_are_cut_away_too() -> None:
    pyramid = make_pyramid("googlenet/conv", device="meta").train()
    assert (pyramid.channels, pyramid.strides) == ((192, 480, 832, 1024), (4, 8, 16, 32))
    pyramid(torch.empty(2, 3, 64, 64, device="meta"))
    assert not [name for name, _ in pyramid.named_parameters() if "aux" in name]


@pytest.mark.parametrize("text", [served(method) for method in registry.modules()])
def test_every_parameter_of_every_method_gets_a_gradient(text: str) -> None:
    pyramid = make_pyramid(text, device="meta").train()
    maps = pyramid(torch.empty(2, 3, 128, 160, device="meta"))
    torch.autograd.backward(maps, maps)
    assert [name for name, one in pyramid.named_parameters() if one.grad is None] == []


@pytest.mark.parametrize("network", ["resnet18", "convnext_atto", "mobilenetv2_035"])
def test_maps_are_those_that_timm_takes_from_the_network(network: str) -> None:
    pyramid = small(f"{network}/conv", seed=5)
    theirs: Any = timm.create_model(network).eval()
    theirs.load_state_dict(build(f"{network}/conv", seed=5).state_dict())
    with torch.no_grad():
        *finer, coarsest = pyramid(images())
        last, maps = theirs.forward_intermediates(images())
    wanted = {one.shape[-2:]: one for one in maps}
    for one in finer:
        assert relative_error(one, wanted[one.shape[-2:]]) < 1e-5
    assert relative_error(coarsest, last) < 1e-5


def test_the_map_of_a_transformers_patches_is_its_last_tokens_as_timm_has_them() -> None:
    pyramid = small("deit_tiny_patch16_224/conv", seed=5)
    theirs: Any = timm.create_model("deit_tiny_patch16_224", dynamic_img_size=True).eval()
    theirs.load_state_dict(build("deit_tiny_patch16_224/conv", seed=5).state_dict())
    with torch.no_grad():
        *_, wanted = theirs.forward_intermediates(images(), norm=True, intermediates_only=True)
        quarter, half, whole, double = pyramid(images())
    assert relative_error(whole, wanted) < 1e-5
    assert torch.equal(double, nn.functional.max_pool2d(whole, 2))
    assert quarter.std() > 0
    assert half.std() > 0
    blocks = [f"blocks.{index}" for index in range(12)]
    assert [list(part)[-3:] for part in pyramid.layout.parts[:3]] == [
        blocks[0:3],
        blocks[3:6],
        blocks[6:9],
    ]
    assert pyramid.layout.parts[3] == (*blocks[9:], "norm")


def test_names_are_those_of_the_classification_network_under_one_prefix() -> None:
    text = "resnet18/kernel_warehouse"
    whole = build(text, device="meta").state_dict()
    inside = make_pyramid(text, device="meta").state_dict()
    assert set(inside) == {f"network.{name}" for name in whole if not name.startswith("fc.")}


def test_weights_are_loaded_before_the_classifier_goes() -> None:
    def prepare(network: nn.Module) -> None:
        seen.update(network.state_dict())

    seen: dict[str, Tensor] = {}
    pyramid = make_pyramid("resnet18/conv", classes=7, seed=2, prepare=prepare)
    assert seen["fc.weight"].shape == (7, 512)
    kept = pyramid.network.state_dict()
    assert torch.equal(seen["layer4.1.conv2.weight"], kept["layer4.1.conv2.weight"])
    assert set(seen) - set(kept) == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("method", ["kernel_warehouse", "odconv", "dyconv"])
def test_schedules_are_at_their_ends(method: str) -> None:
    begun, ended = (build(f"resnet18/{method}", device="meta") for _ in range(2))
    for module in begun.modules():
        if isinstance(module, Anneals):
            module.anneal(step=0, steps_per_epoch=10)
    end_schedules(ended)
    pyramid = make_pyramid(f"resnet18/{method}", device="meta")
    temperatures = {
        name: [m.temperature for m in one.modules() if hasattr(m, "temperature")]
        for name, one in (("begun", begun), ("ended", ended), ("pyramid", pyramid.network))
    }
    assert temperatures["pyramid"] == temperatures["ended"] != temperatures["begun"]


def test_a_copy_keeps_its_own_maps() -> None:
    pyramid = small("mobilenetv2_035/conv")
    twin = copy.deepcopy(pyramid)
    with torch.no_grad():
        before = pyramid(images())
        for parameter in twin.parameters():
            parameter.zero_()
        after, emptied = pyramid(images()), twin(images())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(before, emptied, strict=True))


def test_it_compiles_without_a_break() -> None:
    pyramid = small("mobilenetv2_035/conv")
    compiled = torch.compile(pyramid, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        for wanted, actual in zip(pyramid(images()), compiled(images()), strict=True):
            assert relative_error(actual, wanted) < 1e-5


def test_it_runs_in_half_precision() -> None:
    pyramid = small("resnet18/conv")
    with torch.no_grad():
        wanted = pyramid(images())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            actual = pyramid(images())
    assert {one.dtype for one in actual} == {torch.bfloat16}
    for half, whole in zip(actual, wanted, strict=True):
        assert relative_error(half, whole) < 3e-2  # 20 layers of 8 bits each


def test_workers_need_not_look_for_unused_parameters(tmp_path: Path) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    try:
        pyramid = make_pyramid("mobilenetv2_035/kernel_warehouse").train()
        parallel = DistributedDataParallel(pyramid)
        for _ in range(2):  # what is unused in one step fails the next
            sum(one.mean() for one in parallel(images())).backward()
    finally:
        distributed.destroy_process_group()


def test_maps_can_be_normalised_over_their_channels() -> None:
    pyramid = small("convnext_atto/conv", output_norms=True)
    with torch.no_grad():
        maps = pyramid(images())
    for one, channels in zip(maps, pyramid.channels, strict=True):
        assert one.shape[1] == channels
        assert one.mean(1).abs().max() < 1e-5
        assert (one.var(1, unbiased=False) - 1).abs().max() < 1e-2
    assert sum(p.numel() for p in pyramid.norms.parameters()) == 2 * sum(pyramid.channels)


def test_the_coarsest_maps_are_taken_when_there_are_more() -> None:
    pyramid = make_pyramid("resnet18/conv", device="meta", levels=2)
    assert pyramid.strides == (16, 32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("levit_128s/conv", "only images of the size .*detection needs"),
        ("convmixer_768_32/conv", "maps of several strides .found: 8.*choose .*resnet50"),
        ("mvitv2_tiny/conv", "parameters that serve none of its maps"),
    ],
)
def test_a_network_without_maps_is_refused_with_what_was_found(text: str, message: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match=message):
        make_pyramid(text, device="meta")


def test_blocks_are_numbered_as_they_run_with_what_leads_to_them() -> None:
    layout = make_pyramid("convnext_tiny/conv", device="meta").layout
    assert layout.blocks == 18
    assert layout.depths["stem"] == -1
    assert layout.depths["stages.0.blocks.0"] == 0
    assert layout.depths["stages.1"] == layout.depths["stages.1.blocks.0"] == 3
    assert layout.depths["stages.3.blocks.2"] == 17
    assert layout.parts == (
        ("stem", "stages.0"),
        ("stages.1",),
        ("stages.2",),
        ("stages.3", "norm_pre"),
    )


def test_the_text_may_be_resolved_already() -> None:
    assert make_pyramid(resolve("resnet18/conv"), device="meta").strides == (4, 8, 16, 32)
