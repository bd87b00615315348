"""Any backbone as maps at several scales, which detectors take.

The network runs as it is and its maps are kept on the way; what stands behind the last one
(pooling, classifier) is cut away, so that no parameter is without a gradient. Its state dict has
the names of the classification network under the prefix ``network.``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from backbones.build import build, end_schedules
from backbones.pyramid_layout import Layout, cut
from backbones.pyramid_search import find_layout
from backbones.resolve import Resolved, resolve
from backbones.token_levels import TokenScales, take_any_size

LEVELS = 4
"""Maps that a pyramid has at most: strides 4 to 32 of most networks."""


class Pyramid(nn.Module):
    """A network without its classifier that returns maps of several strides.

    Args:
        network: The classification network; changed in place.
        layout: Where its maps are.
        output_norms: Whether each map passes a LayerNorm over its channels, as studies with
            ConvNeXt have it.

    Attributes:
        network: The network inside.
        norms: Of the maps; empty without `output_norms`.
        scales: What makes maps of the tokens of a transformer; None for any other network.
        layout: Where its maps are.
        channels: Of each map, finest first.
        strides: Pixels of the image for one of each map, finest first.
    """

    def __init__(self, network: nn.Module, layout: Layout, *, output_norms: bool = False) -> None:
        super().__init__()
        cut(network, layout)
        self.network = network
        self.layout = layout
        self.channels = tuple(tap.channels for tap in layout.taps)
        self.strides = tuple(tap.stride for tap in layout.taps)
        self.norms = nn.ModuleList(
            LayerNorm2d(channels) for channels in (self.channels if output_norms else ())
        )
        self.scales = TokenScales(network, layout) if layout.patch else None
        watched = layout.taps[-1:] if layout.patch else layout.taps
        self._keepers = [_Keeper(is_channels_last=tap.is_channels_last) for tap in watched]
        for tap, keeper in zip(watched, self._keepers, strict=True):
            network.get_submodule(tap.path).register_forward_hook(keeper)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of images.

        Args:
            x: (N, 3, H, W); sides that the coarsest stride divides give maps of exactly
                H / stride and W / stride, where convolutions pad (Inception's lose a border).

        Returns:
            (N, channels, H / stride, W / stride) for each level, finest first.
        """
        self.network(x)
        maps = [keeper.take() for keeper in self._keepers]
        if self.scales is not None:
            maps = self.scales(*maps, height=x.shape[2], width=x.shape[3])
        if self.norms:
            maps = [norm(one) for norm, one in zip(self.norms, maps, strict=True)]
        return tuple(maps)

    def modules_up_to(self, parts: int) -> Iterator[nn.Module]:
        """Yield the modules that run up to a tap, for freezing.

        Args:
            parts: How many taps: 1 for the stem and what leads to the first map, and so on.
        """
        for part in self.layout.parts[:parts]:
            for path in part:
                yield self.network.get_submodule(path)


class _Keeper:
    """Keeps what a module returns; a deep copy of a network has a copy of its own."""

    def __init__(self, *, is_channels_last: bool) -> None:
        self._map: Tensor | None = None
        self._is_channels_last = is_channels_last

    def __call__(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        del module, inputs
        self._map = output

    def take(self) -> Tensor:
        """Return what was kept, and keep it no longer."""
        kept, self._map = self._map, None
        if kept is None:
            raise RuntimeError("a level of the pyramid was not computed; its network has changed")
        return kept.permute(0, 3, 1, 2) if self._is_channels_last else kept


def make_pyramid(
    backbone: str | Resolved,
    *,
    image_size: int = 224,
    classes: int = 1000,
    seed: int = 0,
    device: str | torch.device = "cpu",
    pretrained: bool = False,
    drop_path: float = 0.0,
    prepare: Callable[[nn.Module], None] | None = None,
    output_norms: bool = False,
    levels: int = LEVELS,
) -> Pyramid:
    """Build a backbone and cut it to its maps.

    The schedules of its methods (temperatures) are at their ends, as studies of detection have
    them.

    Args:
        backbone: Such as ``resnet50/kernel_warehouse(budget=4)``.
        image_size: Side in pixels of the images for which the network is built: that of its
            classification training. It takes any from then on.
        classes: Of the classifier, which `prepare` still sees.
        seed: Of the initial weights.
        device: Where; ``meta`` for shapes without values.
        pretrained: Start from the library's weights.
        drop_path: Stochastic depth.
        prepare: Called with the classification network, to load its weights.
        output_norms: Whether maps pass a LayerNorm each.
        levels: How many maps at most; the coarsest are taken.

    Raises:
        BackboneError: The text is wrong, or the network has no maps of several strides.
    """
    resolved = resolve(backbone)
    layout = find_layout(resolved, image_size=image_size, levels=levels)
    network = build(
        resolved,
        classes=classes,
        image_size=image_size,
        seed=seed,
        device=device,
        pretrained=pretrained,
        drop_path=drop_path,
    )
    if prepare is not None:
        prepare(network)
    end_schedules(network)
    take_any_size(network)
    is_meta = torch.device(device).type == "meta"
    with torch.random.fork_rng(devices=[]), torch.device("meta" if is_meta else "cpu"):
        torch.manual_seed(seed)
        pyramid = Pyramid(network, layout, output_norms=output_norms)
    return pyramid if is_meta else pyramid.to(device)
