"""The maps that the blocks of a network make of images, and how much they repeat each other.

Nothing here loads torch before it is asked to look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING

from backbones.errors import BackboneError, UnsupportedNetworkError
from backbones.redundancy import Moments, Statistics
from backbones.resolve import Resolved
from backbones.sites import Role, Site, Slot, sites

if TYPE_CHECKING:
    from torch import Tensor, nn

    from backbones.redundancy import Matrix

_AT_ONCE = 16
"""Images of one forward pass."""
KEPT_BYTES = 64 * 2**20
"""Maps are kept of so many images as fit in here, and of one at least."""
_LAYER_ROLES = {Role.STEM, Role.SPATIAL, Role.POINTWISE, Role.EXPAND, Role.PROJECT, Role.DEPTHWISE}


@dataclass(frozen=True)
class Place:
    """A block of a network, whose output can be looked at.

    Attributes:
        name: Dotted path of the module.
        stage: From 0, as sites count them.
        block: Index in its stage.
    """

    name: str
    stage: int
    block: int


@dataclass(frozen=True)
class FeatureMaps:
    """The output of a block.

    Attributes:
        place: The block.
        images: How many images were shown.
        values: (I, C, H, W) float32 maps of the first I images, as many as are kept.
        statistics: Of the maps over all images.
    """

    place: Place
    images: int
    values: Matrix
    statistics: Statistics

    @property
    def channels(self) -> int:
        """How many maps there are."""
        return int(self.values.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a map."""
        return int(self.values.shape[2]), int(self.values.shape[3])


def places(text: str | Resolved, *, image_size: int, classes: int) -> list[Place]:
    """List the blocks of a network in the order in which they run.

    A network without blocks (VGG) has its convolutions instead, each with the norm and activation
    that follow it; there each resolution is a stage.

    Args:
        text: The backbone.
        image_size: Side of the square input in pixels.
        classes: Width of the classifier.

    Raises:
        UnsupportedNetworkError: It has neither.
        BackboneError: The text is wrong.
    """
    found = sites(text, image_size=image_size, classes=classes)
    blocks = [
        Place(site.name, site.stage, site.block) for site in found if Slot.BLOCK in site.slots
    ]
    blocks = sorted(blocks, key=lambda place: (place.stage, place.block)) or _layers(found)
    if not blocks:
        raise UnsupportedNetworkError(
            f"{text} has neither blocks nor convolutions whose maps could be shown; "
            "choose a network such as resnet18"
        )
    return blocks


def _layers(found: Sequence[Site]) -> list[Place]:
    """Take convolutions for blocks, and resolutions for stages."""
    layers: list[Place] = []
    stage, block, smallest = -1, 0, (0, 0)
    for site in found:
        if site.kind != "conv2d" or site.role not in _LAYER_ROLES or site.out_size == (1, 1):
            continue
        if stage < 0 or site.out_size < smallest:
            stage, block, smallest = stage + 1, 0, site.out_size
        layers.append(Place(site.act or site.norm or site.name, stage, block))
        block += 1
    return layers


def last_of_stages(found: Sequence[Place]) -> list[Place]:
    """Return the last block of each stage."""
    return list({place.stage: place for place in found}.values())


def choose(
    found: Sequence[Place], *, stage: int | None = None, block: int | None = None
) -> list[Place]:
    """Return the blocks that were asked for.

    Args:
        found: The blocks of the network.
        stage: All blocks of this stage; None: the last block of each.
        block: Only this block of the stage.

    Raises:
        BackboneError: There is no such stage or block; says what there is.
    """
    if stage is None:
        if block is not None:
            raise BackboneError(f"block {block} of which stage? Name the stage, too")
        return last_of_stages(found)
    chosen = [place for place in found if place.stage == stage]
    if not chosen:
        stages = sorted({place.stage for place in found})
        raise BackboneError(f"no stage {stage}; this network has {', '.join(map(str, stages))}")
    if block is None:
        return chosen
    exact = [place for place in chosen if place.block == block]
    if not exact:
        raise BackboneError(
            f"stage {stage} has no block {block}, only {', '.join(str(p.block) for p in chosen)}"
        )
    return exact


def look(network: nn.Module, images: Tensor, wanted: Sequence[Place]) -> list[FeatureMaps]:
    """Show images to a network and return what some of its blocks make of them.

    Maps of several images are compared as if they lay side by side. An image is taken in at a
    time, so what is held are the maps that are kept and, for each block, a few matrices of
    channels by channels.

    Args:
        network: With any weights; left in evaluation mode.
        images: (N, 3, S, S), at least one.
        wanted: Some of its `places`.

    Raises:
        UnsupportedNetworkError: A block does not run, or returns no maps but several tensors, say.
        BackboneError: Maps hold values that are not finite.
    """
    import torch

    network.eval()
    prefix = getattr(network, "num_prefix_tokens", 0)
    gathered = [_Gathered(place, prefix=prefix) for place in wanted]
    with ExitStack() as hooks, torch.no_grad():
        for one in gathered:
            module = network.get_submodule(one.place.name)
            hooks.callback(module.register_forward_hook(one.hook()).remove)
        for some in torch.split(images, _AT_ONCE):
            for one in gathered:
                one.expect(len(some))
            network(some)
    return [one.result() for one in gathered]


class _Gathered:
    """What a block has returned so far."""

    def __init__(self, place: Place, *, prefix: int) -> None:
        self.place = place
        self._prefix = prefix
        self._images = 0
        self._expected = 0
        self._bytes = 0
        self._kept: list[Tensor] = []
        self._moments: Moments | None = None

    def expect(self, images: int) -> None:
        """Say how many images come next."""
        self._expected = images

    def hook(self) -> Callable[[nn.Module, object, object], None]:
        def take(module: nn.Module, arguments: object, output: object) -> None:
            del module, arguments
            x_NCHW = as_maps(output, name=self.place.name, prefix=self._prefix)
            if len(x_NCHW) != self._expected:
                raise UnsupportedNetworkError(
                    f"{self.place.name} works on windows of images, not on whole ones; "
                    "choose another block"
                )
            for x_CHW in x_NCHW.detach().float().cpu():
                self._add(x_CHW)

        return take

    def _add(self, x_CHW: Tensor) -> None:
        if not x_CHW.isfinite().all():
            raise BackboneError(
                f"maps of {self.place.name} hold values that are not finite; "
                "choose an earlier checkpoint"
            )
        self._images += 1
        self._bytes += x_CHW.numel() * x_CHW.element_size()
        if not self._kept or self._bytes <= KEPT_BYTES:
            # what follows may work in place
            self._kept.append(x_CHW.clone())
        if self._moments is None:
            self._moments = Moments(x_CHW.flatten(1))
        else:
            self._moments.add(x_CHW.flatten(1))

    def result(self) -> FeatureMaps:
        """Return what became of them.

        Raises:
            UnsupportedNetworkError: The block did not run.
        """
        import torch

        if self._moments is None:
            raise UnsupportedNetworkError(f"{self.place.name} does not run; choose another block")
        return FeatureMaps(
            place=self.place,
            images=self._images,
            values=torch.stack(self._kept).numpy(),
            statistics=self._moments.statistics(),
        )


def as_maps(output: object, *, name: str, prefix: int = 0) -> Tensor:
    """Lay the output of a block out as maps.

    Args:
        output: (N, C, H, W) or (N, H, W, C) of square images, which the equal sides tell apart, or
            tokens (N, T, C) of their square grid, row by row.
        name: Of the block, for messages.
        prefix: Tokens before those of the grid, such as the class token.

    Returns:
        (N, C, H, W); tokens before the grid are left out.

    Raises:
        UnsupportedNetworkError: It is none of these.
    """
    import torch

    if not isinstance(output, torch.Tensor):
        raise UnsupportedNetworkError(
            f"{name} returns {type(output).__name__}, not one tensor of maps; choose another block"
        )
    shape = tuple(output.shape)
    if len(shape) == 4 and shape[2] == shape[3]:
        return output
    if len(shape) == 4 and shape[1] == shape[2]:
        return output.permute(0, 3, 1, 2)
    if len(shape) == 3:
        for before in (prefix, 0, 1):
            side = isqrt(max(shape[1] - before, 0))
            if side and side * side == shape[1] - before:
                return output[:, before:].transpose(1, 2).reshape(shape[0], shape[2], side, side)
    raise UnsupportedNetworkError(
        f"{name} returns {' x '.join(map(str, shape))} values, which are no maps: expected "
        "images x channels x height x width, all square, or tokens of a square grid; "
        "choose another block"
    )
