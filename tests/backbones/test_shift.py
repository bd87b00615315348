"""The shift primitives mean what their reference says, and move pointers where they say so."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.export import Dim, export
from torch.utils._python_dispatch import TorchDispatchMode

from backbones.shift import DIRECTIONS, Shift
from backbones.shift.map import ChannelRing, address_shift, channel_shift, shifted
from backbones.shift.mixing import Mixing
from backbones.shift.pointwise import ShiftedPointwise
from backbones.shift.window import shortcut_shift, slide
from tests.backbones import reference_shift
from tests.backbones.closeness import TOLERANCE, assert_equals_reference, relative_error

SIZES = ((5, 4), (1, 6), (3, 1), (1, 1))
MIXINGS: Mapping[str, Mixing] = {
    "block's": Mixing(Shift(24, 6, DIRECTIONS[4]), 4, 2),
    "one group": Mixing(Shift(10, 3, DIRECTIONS[4]), 5),
    "three groups, uneven": Mixing(Shift(18, 3, DIRECTIONS[4]), 6, 3),
    "more out than in": Mixing(Shift(12, 3, DIRECTIONS[4]), 36, 2),
    "stride": Mixing(Shift(12, 3, DIRECTIONS[5]), 4, 2, (2, 2)),
    "uneven stride": Mixing(Shift(20, 2, DIRECTIONS[9]), 4, 2, (3, 1)),
    "nine directions": Mixing(Shift(36, 9, DIRECTIONS[9]), 4, 2),
    "eight directions, wrapping": Mixing(Shift(32, 8, DIRECTIONS[8], "wrap"), 4, 2),
    "wrapping": Mixing(Shift(24, 6, DIRECTIONS[4], "wrap"), 4, 2),
    "wrapping stride": Mixing(Shift(12, 3, DIRECTIONS[4], "wrap"), 4, 2, (2, 1)),
    "rotation": Mixing(Shift(18, 3), 12, 3),
    "rotation by a group": Mixing(Shift(12, 4), 6, 3),
    "translation": Mixing(Shift(16, 0, DIRECTIONS[4]), 4, 2),
    "neither": Mixing(Shift(12), 6, 3),
    "fewer channels than directions": Mixing(Shift(6, 1, DIRECTIONS[9]), 4, 2),
}
every = pytest.mark.parametrize("mixing", MIXINGS.values(), ids=MIXINGS)


def layer_of(mixing: Mixing, *, bias: bool = False) -> ShiftedPointwise:
    layer = ShiftedPointwise(
        mixing.shift, mixing.outputs, groups=mixing.groups, stride=mixing.stride, bias=bias
    )
    if layer.conv.bias is not None:
        torch.nn.init.normal_(layer.conv.bias)
    return layer


def reference(x: Tensor, state: Mapping[str, Tensor], mixing: Mixing) -> Tensor:
    return reference_shift.shifted_pointwise(
        x,
        state["conv.weight"],
        state.get("conv.bias"),
        directions=len(mixing.shift.directions),
        distance=mixing.shift.distance,
        groups=mixing.groups,
        stride=mixing.stride,
        wraps=mixing.shift.boundary == "wrap",
    )


# --- what the primitives mean ----------------------------------------------------------------


@pytest.mark.parametrize("distance", [0, 1, 5, 12, 17])
def test_channel_shift_rotates(distance: int) -> None:
    x = torch.randn(2, 12, 3, 4, dtype=torch.float64, requires_grad=True)
    y, wanted = channel_shift(x, distance), reference_shift.channel_shift(x, distance)
    assert torch.equal(y, wanted)
    direction = torch.randn_like(wanted)
    (gradient,) = torch.autograd.grad(y, x, direction)
    assert torch.equal(gradient, reference_shift.channel_shift(direction, -distance))


@pytest.mark.parametrize("wraps", [False, True], ids=["zeros", "wraps"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("directions", [4, 5, 8, 9])
def test_address_shift_reads_from_where_its_directions_point(
    directions: int, size: tuple[int, int], wraps: bool
) -> None:
    x = torch.randn(2, 2 * directions + 3, *size, dtype=torch.float64, requires_grad=True)
    y = address_shift(x, DIRECTIONS[directions], boundary="wrap" if wraps else "zero")
    wanted = reference_shift.address_shift(x, directions=directions, wraps=wraps)
    assert torch.equal(y, wanted)
    direction = torch.randn_like(wanted)
    gradients = [torch.autograd.grad(each, x, direction)[0] for each in (y, wanted)]
    assert torch.equal(*gradients)


def test_address_shift_is_a_3x3_convolution_with_one_number_a_channel() -> None:
    x, kernel = torch.randn(1, 8, 6, 5), torch.zeros(8, 1, 3, 3)
    for c, (dy, dx) in zip(range(8), [d for d in DIRECTIONS[4] for _ in range(2)], strict=True):
        kernel[c, 0, 1 + dy, 1 + dx] = 1
    wanted = torch.nn.functional.conv2d(x, kernel, padding=1, groups=8)
    assert torch.equal(address_shift(x, DIRECTIONS[4]), wanted)


def test_channels_that_divide_into_no_block_stay() -> None:
    x = torch.randn(1, 7, 3, 3)
    assert torch.equal(address_shift(x, DIRECTIONS[4])[:, 4:], x[:, 4:])


def test_a_rotation_by_half_a_group_joins_each_two_neighbours() -> None:
    shift = Shift(12, 2)  # three groups of four
    sources = [{(t + shift.distance) % 12 // 4 for t in range(4 * g, 4 * g + 4)} for g in range(3)]
    assert sources == [{0, 1}, {1, 2}, {2, 0}]


def test_shortcut_shift_drops_the_oldest_channels() -> None:
    x, fresh = torch.randn(2, 6, 3, 3), torch.randn(2, 2, 3, 3)
    assert torch.equal(shortcut_shift(x, fresh), torch.cat((x[:, 2:], fresh), 1))


# --- one operator ----------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@every
def test_forward_and_gradients_are_the_references(
    mixing: Mixing, dtype: torch.dtype, bias: bool
) -> None:
    layer = layer_of(mixing, bias=bias).to(dtype)
    for size, images in ((SIZES[0], 2), (SIZES[1], 1)):
        x = torch.randn(images, mixing.shift.channels, *size, dtype=dtype)
        for layout in (torch.contiguous_format, torch.channels_last):
            layer.zero_grad()
            assert_equals_reference(
                layer,
                x.contiguous(memory_format=layout),
                lambda x, state: reference(x, state, mixing),
            )


@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("part", [300, 2**18], ids=["small parts", "large parts"])
@every
def test_without_gradients_it_is_the_reference_in_parts_of_any_size(
    mixing: Mixing, part: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backbones.shift.inference.PART", part)
    layer = layer_of(mixing, bias=bias)
    state = {name: value.double() for name, value in layer.state_dict().items()}
    for size, images in itertools.product((SIZES[0], SIZES[3], (12, 11)), (1, 3)):
        x = torch.randn(images, mixing.shift.channels, *size)
        with torch.no_grad():
            wanted = reference(x.double(), state, mixing)
            apart = torch.stack((x, x), dim=4)[..., 0]
            turned = x.transpose(0, 1).contiguous().transpose(0, 1)
            last = x.contiguous(memory_format=torch.channels_last)
            for given in (x, last, apart, turned):
                y = layer(given)
                assert relative_error(y, wanted) < TOLERANCE[torch.float32]
            assert layer(x).is_contiguous()
            assert layer(last).is_contiguous(memory_format=torch.channels_last)


def test_no_images_give_no_maps() -> None:
    layer = layer_of(Mixing(Shift(12, 3, DIRECTIONS[4]), 4, 2, (2, 2)))
    x = torch.randn(0, 12, 5, 5)
    with torch.no_grad():
        assert layer(x).shape == (0, 4, 3, 3)
    assert layer(x).shape == (0, 4, 3, 3)


@every
def test_half_precision_stays_within_its_tolerance(mixing: Mixing) -> None:
    layer = layer_of(mixing, bias=True)
    x = torch.randn(2, mixing.shift.channels, 7, 6)
    state = {name: value.double() for name, value in layer.state_dict().items()}
    wanted = reference(x.double(), state, mixing)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype is torch.bfloat16
    assert relative_error(y, wanted) < TOLERANCE[torch.bfloat16]
    whole = layer.to(torch.bfloat16)
    for quiet in (True, False):
        with torch.set_grad_enabled(not quiet):
            assert relative_error(whole(x.bfloat16()), wanted) < TOLERANCE[torch.bfloat16]


@pytest.mark.parametrize("name", ["stride", "wrapping"])
def test_it_is_compiled_and_exported_whole(name: str) -> None:
    torch.compiler.reset()
    layer = layer_of(MIXINGS[name], bias=True)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    shapes = ({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)
    example = torch.randn(3, MIXINGS[name].shift.channels, 9, 8)
    with torch.no_grad():
        program = export(layer, (example,), dynamic_shapes=shapes).module()
    for images, size in ((1, (7, 6)), (4, (8, 11))):
        x = torch.randn(images, example.shape[1], *size)
        with torch.no_grad():
            for made in (compiled, program):
                assert relative_error(made(x), layer(x)) < TOLERANCE[torch.float32]
    learned = [
        torch.autograd.grad(f(example).square().sum(), layer.conv.weight) for f in (compiled, layer)
    ]
    assert relative_error(learned[0][0], learned[1][0]) < TOLERANCE[torch.float32]


@every
def test_on_meta_it_has_shapes(mixing: Mixing) -> None:
    layer, x = layer_of(mixing), torch.randn(2, mixing.shift.channels, 7, 6)
    wanted = layer(x).shape
    layer.to("meta")
    assert layer(x.to("meta")).shape == wanted
    with torch.no_grad():
        assert layer(x.to("meta")).shape == wanted


# --- where it lies ---------------------------------------------------------------------------


class _Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type it
    """Notes the memory that operations make for themselves, in numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not type it
        self.made: dict[int, int] = {}
        self._alive: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = {each.untyped_storage().data_ptr() for each in args if isinstance(each, Tensor)}
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, list | tuple) else [found]:
            if isinstance(each, Tensor):
                storage = each.untyped_storage()
                if storage.data_ptr() not in given and storage.nbytes():
                    self._alive.append(each)  # so that no address is given out twice
                    self.made[storage.data_ptr()] = storage.nbytes() // each.element_size()
        return found


@contextmanager
def allocations() -> Iterator[list[int]]:
    """Yield the sizes of all memory that is made, filled at the end."""
    sizes: list[int] = []
    with _Allocations() as watched:
        yield sizes
    sizes.extend(watched.made.values())


def test_a_copy_of_a_map_would_be_noticed() -> None:
    x = torch.randn(2, 24, 8, 8)
    with allocations() as sizes:
        channel_shift(x, 5)
    assert sizes == [x.numel()]


def test_a_channel_shift_moves_a_pointer_in_its_ring() -> None:
    x = torch.randn(3, 24, 6, 5)
    ring = ChannelRing((3, 24, 6, 5), distance=4, like=x)
    ring.room.copy_(x)
    with allocations() as sizes:
        y = ring.turned()
    assert sizes == []
    assert y.untyped_storage().data_ptr() == ring.room.untyped_storage().data_ptr()
    assert y.data_ptr() - ring.room.data_ptr() == 4 * 3 * 6 * 5 * x.element_size()
    assert torch.equal(y, channel_shift(x, 4))


@pytest.mark.parametrize("distance", [0, 24])
def test_a_ring_that_turns_by_nothing_or_all_gives_its_map(distance: int) -> None:
    x = torch.randn(2, 24, 3, 3)
    ring = ChannelRing((2, 24, 3, 3), distance=distance, like=x)
    ring.room.copy_(x)
    assert torch.equal(ring.turned(), x)


@pytest.mark.parametrize("images", [1, 4])
def test_a_rotated_map_is_convolved_where_it_lies(images: int) -> None:
    mixing = Mixing(Shift(24, 4), 12, 3)
    layer, x = layer_of(mixing), torch.randn(images, 24, 16, 16)
    with torch.no_grad(), allocations() as sizes:
        y = layer(x)
    assert sizes == [y.numel()], "more was made than what comes out"


def test_a_window_slides_over_one_piece_of_memory() -> None:
    x = torch.randn(2, 8, 5, 4)
    wanted, window = x, x
    first, fresh = slide(window, keep=6, fresh=2, ahead=4)
    fresh.copy_(torch.randn(2, 2, 5, 4))
    wanted = shortcut_shift(wanted, fresh)
    assert torch.equal(first, wanted)
    window = first
    for _ in range(2):
        with allocations() as sizes:
            window, fresh = slide(window, keep=6, fresh=2, ahead=0)
        assert sizes == []
        fresh.copy_(torch.randn(2, 2, 5, 4))
        wanted = shortcut_shift(wanted, fresh)
        assert torch.equal(window, wanted)
        assert window.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
    with allocations() as sizes:
        last, _ = slide(window, keep=6, fresh=2)
    assert len(sizes) == 1, "there was no room left"
    assert torch.equal(last[:, :6], window[:, 2:])


def test_the_room_behind_a_map_is_given_to_one_alone() -> None:
    x = torch.randn(1, 4, 3, 3)
    begun, fresh = slide(x, keep=2, fresh=2, ahead=8)
    fresh.zero_()
    one, ones = slide(begun, keep=2, fresh=2)
    other, twos = slide(begun, keep=2, fresh=2)
    ones.fill_(1)
    twos.fill_(2)
    assert torch.equal(one[:, 2:], torch.ones(1, 2, 3, 3))
    assert torch.equal(other[:, 2:], torch.full((1, 2, 3, 3), 2.0))
    assert torch.equal(one[:, :2], other[:, :2])


def test_pieces_cover_each_channel_once() -> None:
    for channels, distance, directions, groups in itertools.product(
        (6, 24, 30), (0, 1, 7), (0, 4, 9), (1, 2, 3)
    ):
        shift = Shift(channels, distance, DIRECTIONS.get(directions, ()))
        targets = [p.target + i for p in shift.cut(groups) for i in range(p.length)]
        sources = {p.source + i for p in shift.cut(groups) for i in range(p.length)}
        assert targets == list(range(channels))
        assert sources == set(range(channels))


def test_translation_tracks_gradients_of_the_map_only_where_asked() -> None:
    shift = Shift(8, 2, DIRECTIONS[4])
    assert not shifted(torch.randn(1, 8, 3, 3), shift).requires_grad
    assert shifted(torch.randn(1, 8, 3, 3, requires_grad=True), shift).requires_grad
