"""AddressNet's block is its reference, in any mode and place, and so is what it is fused to."""

from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from backbones.build import build
from backbones.cost import cost
from backbones.errors import BackboneError, SettingError, UnsupportedNetworkError
from backbones.fusion import fuse
from backbones.methods.shift import Settings
from backbones.resolve import resolve
from backbones.selection import select
from backbones.shift.block import AddressBlock
from backbones.shift.shape import BlockShape, Place, Variant, shapes
from backbones.sites import sites
from tests.backbones import reference_shift
from tests.backbones.closeness import TOLERANCE, assert_equals_reference, relative_error
from tests.backbones.small_sites import shake
from tests.backbones.test_shift import allocations

SHAPES: Mapping[str, BlockShape] = {
    name: shapes([place], variant)[0]
    for name, (place, variant) in {
        "shift": (Place(8, 8), Variant(expansion=3)),
        "sum": (Place(8, 8), Variant(expansion=3, shortcut="add")),
        "widening": (Place(4, 8, (2, 2)), Variant(expansion=2)),
        "widening sum": (Place(4, 8, (2, 2)), Variant(expansion=2, shortcut="add")),
        "widening fourfold": (Place(4, 16), Variant(expansion=1)),
        "stride, all new": (Place(6, 6, (2, 1)), Variant(groups=1, expansion=2, fresh=1)),
        "nine directions, wrapping": (
            Place(6, 6),
            Variant(groups=3, directions=9, boundary="wrap", expansion=3, fresh=0.4),
        ),
        "no rotation": (Place(4, 4), Variant(distance=0, expansion=4, shortcut="add")),
        "narrower within": (Place(16, 16), Variant(expansion=0.5)),
    }.items()
}
every = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def block_of(shape: BlockShape, *, training: bool = False) -> AddressBlock:
    block = AddressBlock(shape).train(training)
    shake(block)
    return block


def reference(
    x: Tensor, state: Mapping[str, Tensor], shape: BlockShape, *, training: bool
) -> Tensor:
    return reference_shift.block(
        x,
        state,
        directions=len(shape.shift.directions),
        distance=shape.shift.distance,
        groups=shape.groups,
        stride=shape.place.stride,
        outputs=shape.place.outputs,
        adds=shape.shortcut == "add",
        wraps=shape.shift.boundary == "wrap",
        training=training,
    )


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@every
def test_forward_and_gradients_are_the_references(shape: BlockShape, training: bool) -> None:
    block = block_of(shape, training=training).double()
    for images, layout in ((1, torch.contiguous_format), (3, torch.channels_last)):
        x = torch.randn(images, shape.place.channels, 5, 4, dtype=torch.float64)
        block.zero_grad()
        assert_equals_reference(
            block,
            x.contiguous(memory_format=layout),
            lambda x, state: reference(x, state, shape, training=training),
        )


@pytest.mark.parametrize("form", ["usual", "fused"])
@every
def test_without_gradients_it_is_the_reference(
    shape: BlockShape, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = block_of(shape)
    run = block if form == "usual" else block.fused()
    state = {name: value.double() for name, value in block.state_dict().items()}
    for part, images, size in itertools.product((500, 2**18), (1, 4), ((5, 4), (1, 1))):
        monkeypatch.setattr("backbones.shift.inference.PART", part)
        x = torch.randn(images, shape.place.channels, *size)
        with torch.no_grad():
            wanted = reference(x.double(), state, shape, training=False)
            for layout in (torch.contiguous_format, torch.channels_last):
                y = run(x.contiguous(memory_format=layout))
                assert relative_error(y, wanted) < TOLERANCE[torch.float32]
    x = torch.randn(2, shape.place.channels, 5, 4)
    with torch.no_grad():
        quiet = run(x)
    assert relative_error(run(x), quiet) < 1e-6, "with gradients recorded it gives something else"


@every
def test_half_precision_stays_within_its_tolerance(shape: BlockShape) -> None:
    block, x = block_of(shape), torch.randn(3, shape.place.channels, 9, 8)
    state = {name: value.double() for name, value in block.state_dict().items()}
    wanted = reference(x.double(), state, shape, training=False)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert relative_error(block(x), wanted) < TOLERANCE[torch.bfloat16]
    with torch.no_grad():
        whole = block.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert whole.dtype is torch.bfloat16
    assert relative_error(whole, wanted) < TOLERANCE[torch.bfloat16]


def test_a_chain_of_blocks_writes_each_channel_once_into_one_piece_of_memory() -> None:
    places = [Place(4, 8, (2, 2)), *[Place(8, 8)] * 4]
    blocks = [block_of(shape).fused() for shape in shapes(places, Variant(expansion=2))]
    x = torch.randn(2, 4, 12, 12)
    with torch.no_grad():
        maps = [x]
        for block in blocks:
            maps.append(block(maps[-1]))
    first = maps[1].untyped_storage()
    for number, (window, later) in enumerate(itertools.pairwise(maps[1:])):
        assert later.untyped_storage().data_ptr() == first.data_ptr()
        assert torch.equal(later[:, :4], window[:, 4:]), "the identity was touched"
        moved = later.storage_offset() - window.storage_offset()
        assert moved == 4 * 2 * 36, f"block {number} does not begin where it should"
    assert first.nbytes() == 4 * (8 + 4 * 4) * 2 * 36


def test_a_block_makes_the_wide_map_once_and_copies_it_never() -> None:
    (shape,) = shapes([Place(16, 16)], Variant())
    block, x = block_of(shape).fused(), torch.randn(1, 16, 16, 16)
    with torch.no_grad(), allocations() as sizes:
        block(x)
    wide = 96 * 16 * 16
    assert sum(size >= wide // 2 for size in sizes) == 1
    assert max(sizes) < 1.1 * wide


@pytest.mark.parametrize("shortcut", ["shift", "add"])
def test_it_is_compiled_and_exported_whole(shortcut: Any) -> None:
    torch.compiler.reset()
    (shape,) = shapes([Place(4, 8, (2, 2))], Variant(expansion=1, shortcut=shortcut))
    block, example = block_of(shape), torch.randn(3, 4, 9, 8)
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        program = export(
            block, (example,), dynamic_shapes=({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)
        ).module()
        for images, size in ((1, (7, 6)), (4, (8, 11))):
            x = torch.randn(images, 4, *size)
            for made in (compiled, program):
                assert relative_error(made(x), block(x)) < TOLERANCE[torch.float32]


def test_it_comes_back_as_it_went() -> None:
    block = block_of(SHAPES["widening"])
    file, other, x = io.BytesIO(), block_of(SHAPES["widening"]), torch.randn(2, 4, 6, 6)
    torch.save(block.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    over_meta = copy.deepcopy(block).to("meta").to_empty(device="cpu")
    over_meta.load_state_dict(block.state_dict())
    with torch.no_grad():
        for made in (other, over_meta, copy.deepcopy(block).double().float()):
            assert torch.equal(made(x), block(x))


def test_a_gate_and_stochastic_depth_within_are_obeyed() -> None:
    block, x = block_of(SHAPES["shift"]), torch.randn(2, 8, 5, 5)
    with torch.no_grad():
        wanted = block(x) * 2
        block.set_submodule("gate", Doubling())
        assert relative_error(block(x), wanted) < TOLERANCE[torch.float32]
        block.set_submodule("gate", nn.Identity())
        block.set_submodule("drop_path", Dropping())
        assert not block(x)[:, 4:].any()


class Doubling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class Dropping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0 * x


# --- as a method -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "resnet18(stem=small)/shift",
        "resnet18(stem=small)/shift(shortcut=add)",
        "resnet20_cifar/shift(boundary=wrap,directions=9,groups=4)",
        "mobilenetv2_050/shift",
    ],
)
def test_a_fused_network_gives_the_same(text: str) -> None:
    network = build(text, classes=10, image_size=33)
    shake(network)
    network.eval()
    x = torch.randn(3, 3, 33, 33)
    with torch.no_grad():
        wanted = copy.deepcopy(network).double()(x.double())
        carried = relative_error(network(x), wanted)
        assert relative_error(fuse(network, image_size=33)(x), wanted) < max(1e-5, 10 * carried)


def test_it_replaces_every_block_of_a_resnet() -> None:
    network = build("resnet50/shift", device="meta")
    blocks = [name for name, m in network.named_modules() if isinstance(m, AddressBlock)]
    assert len(blocks) == 16
    kinds = {type(m) for m in network.get_submodule("layer4").modules()}
    assert nn.MaxPool2d not in kinds
    first = network.get_submodule("layer2.0")
    assert isinstance(first, AddressBlock)
    assert first.shape.place == Place(256, 512, (2, 2))
    assert first.shape.shift.channels == 512, "their blocks are wide as they are"
    assert first.shape.fresh == 256
    assert first.shape.ahead == 3 * 256


def test_blocks_that_narrow_stay() -> None:
    network = build("mobilenetv2_100/shift", device="meta")
    assert not isinstance(network.get_submodule("blocks.0.0"), AddressBlock)
    assert isinstance(network.get_submodule("blocks.1.0"), AddressBlock)


@pytest.mark.parametrize(
    "network", ["vgg16_bn", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "densenet121"]
)
def test_a_network_without_blocks_of_maps_is_refused(network: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match="nothing to replace"):
        select("shift", Settings(), sites(network), network=network)


def test_groups_that_do_not_divide_are_refused() -> None:
    with pytest.raises(SettingError, match=r"groups=3.* has 64 channels"):
        select("shift", Settings(groups=3), sites("resnet18"), network="resnet18")


@pytest.mark.parametrize(
    "settings",
    [
        "directions=3",
        "boundary=mirror",
        "shortcut=none",
        "fresh=0",
        "groups=0",
        "distance=2",
        "shortcut=add,fresh=0.25",
    ],
)
def test_settings_out_of_range_are_refused(settings: str) -> None:
    with pytest.raises(BackboneError):
        resolve(f"resnet18/shift({settings})")


@pytest.mark.parametrize("shortcut", ["shift", "add"])
def test_parameters_and_multiply_adds_are_those_of_the_formula(shortcut: str) -> None:
    counted = cost(f"resnet20_cifar/shift(shortcut={shortcut})", classes=10, image_size=32)
    params, madds = 27 * 16 + 2 * 16 + 64 * 10 + 10, 27 * 16 * 1024 + 640
    before = 16
    for width, side in ((16, 32), (32, 16), (64, 8)):
        for _ in range(3):
            wide, fresh = 6 * width, width if shortcut == "add" else width // 2
            first, second = before * wide // 2, wide * fresh // 2
            params += first + second + 2 * wide + 2 * fresh
            madds += first * (side * width // before) ** 2 + second * side * side
            before = width
    assert (counted.params, counted.madds) == (params, madds)
