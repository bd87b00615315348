"""A pyramid over a vision transformer, all of whose maps have one stride.

It is that of ViTDet (arXiv 2203.16527): the tokens of the last block are the map of the stride of
its patches; a transposed convolution or two make the maps of half and a quarter of it, and a
maximum over squares the map of twice it. ViTDet brings each to the width of the heads and joins no
scales after that; here the detector's own pyramid follows, as behind any other backbone. Attention
stays global.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from timm.layers.format import Format
from timm.layers.norm import LayerNorm2d
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from backbones.forward_trace import Call
from backbones.pyramid_layout import Layout, Tap, lay_out

_END = "norm"
"""Module of timm's transformers that returns the tokens of the last block."""

_SCALES = (4, 2, 1, 0.5)
"""Sides of the maps over that of the map of patches, finest first."""


def is_of_tokens(network: nn.Module) -> bool:
    """Whether a network is a vision transformer that this serves."""
    return isinstance(network, VisionTransformer) and isinstance(network.patch_embed, PatchEmbed)


def take_any_size(network: nn.Module) -> None:
    """Let a vision transformer stretch its positions to each image; any other network is as is."""
    if not is_of_tokens(network):
        return
    transformer = cast("VisionTransformer", network)
    # what timm's own option `dynamic_img_size` sets when a network is made
    transformer.dynamic_img_size = True  # type: ignore[misc]  # final for TorchScript alone
    embed = transformer.patch_embed
    embed.strict_img_size, embed.flatten, embed.output_fmt = False, False, Format.NHWC


def lay_out_tokens(
    network: nn.Module, calls: Sequence[Call], *, blocks: Sequence[str], levels: int
) -> Layout:
    """Say where the maps of a vision transformer are: all at its end.

    Parts, for freezing, are quarters of its blocks; what embeds the patches is in the first, the
    last norm in the last.

    Args:
        network: A transformer.
        calls: Of one forward pass.
        blocks: Names of its blocks.
        levels: How many strides at most; the coarsest are taken.
    """
    (end,) = (call for call in calls if call.name == _END)
    patch = int(cast("VisionTransformer", network).patch_embed.patch_size[0])
    width = end.out_shape[-1]
    scales = _SCALES[-levels:]
    run = sorted((call for call in calls if call.name in blocks), key=lambda call: call.end)
    quarters = [run[(part + 1) * len(run) // len(scales) - 1].end for part in range(len(scales))]
    return lay_out(
        network,
        calls,
        taps=[
            Tap(_END, int(width // max(scale, 1)), int(patch / scale), is_channels_last=False)
            for scale in scales
        ],
        ends=[*quarters[:-1], end.end],
        blocks=blocks,
        patch=patch,
    )


class TokenScales(nn.Module):
    """Maps of several strides from the tokens of a transformer.

    Args:
        network: The transformer.
        layout: Its.
    """

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        super().__init__()
        transformer = cast("VisionTransformer", network)
        self.patch, self.prefix = layout.patch, int(transformer.num_prefix_tokens)
        width = layout.taps[-1].channels
        self.scales = nn.ModuleList(
            _scale(width, patch=layout.patch, stride=tap.stride) for tap in layout.taps
        )

    def forward(self, tokens: Tensor, *, height: int, width: int) -> list[Tensor]:
        """Map the tokens (N, L, C) of images of `height` x `width` pixels to maps, finest first."""
        patches = tokens[:, self.prefix :].transpose(1, 2)
        whole = patches.reshape(*patches.shape[:2], height // self.patch, width // self.patch)
        return [scale(whole) for scale in self.scales]


def _scale(width: int, *, patch: int, stride: int) -> nn.Module:
    if stride > patch:
        return nn.MaxPool2d(2)
    if stride == patch:
        return nn.Identity()
    half = nn.ConvTranspose2d(width, width // 2, 2, stride=2)
    if 2 * stride == patch:
        return half
    quarter = nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2)
    return nn.Sequential(half, LayerNorm2d(width // 2), nn.GELU(), quarter)
