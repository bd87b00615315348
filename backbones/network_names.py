"""What releases call the modules of networks that have other names here (timm's, torchvision's)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from torch import nn

Rename = Callable[[str], str]
"""From the path of a module here to its path in a release."""
Naming = Callable[[nn.Module], Rename]
"""Makes the renaming for a network, whose depth it may need to know."""

_BLOCK = re.compile(r"(blocks\.\d+\.\d+)(?:\.(.+))?")

_MOBILENETV2_ENDS = {
    "conv_stem": "features.0.0",
    "bn1": "features.0.1",
    "classifier": "classifier.1",
}
_IN_FIRST = ("conv_dw", "bn1", "conv_pw", "bn2")
_IN_OTHERS = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")


def unchanged(network: nn.Module) -> Rename:
    """Return the names as they are."""
    del network
    return lambda path: path


def mobilenetv2_torchvision(network: nn.Module) -> Rename:
    """MobileNetV2 as torchvision has it: convolution and norm of a layer under one number."""
    return _mobilenetv2(
        network,
        first=("conv.0.0", "conv.0.1", "conv.1", "conv.2"),
        others=("conv.0.0", "conv.0.1", "conv.1.0", "conv.1.1", "conv.2", "conv.3"),
        ends={"conv_head": "features.{last}.0", "bn2": "features.{last}.1"},
    )


def mobilenetv2_bare(network: nn.Module) -> Rename:
    """The same with a classifier that has no number, as no dropout stands before it."""
    usual = mobilenetv2_torchvision(network)
    return lambda path: path if path.partition(".")[0] == "classifier" else usual(path)


def mobilenetv2_flat(network: nn.Module) -> Rename:
    """MobileNetV2 with the layers of a block, activations included, numbered through."""
    return _mobilenetv2(
        network,
        first=("conv.0", "conv.1", "conv.3", "conv.4"),
        others=("conv.0", "conv.1", "conv.3", "conv.4", "conv.6", "conv.7"),
        ends={"conv_head": "conv.0", "bn2": "conv.1", "classifier": "classifier.0"},
    )


def mobilenetv2_spelled(network: nn.Module) -> Rename:
    """MobileNetV2 with the layers of a block named by what they do."""
    return _mobilenetv2(
        network,
        first=("dw", "bn_dw", "pw_linear", "bn_pw_linear"),
        others=("pw", "bn_pw", "dw", "bn_dw", "pw_linear", "bn_pw_linear"),
        ends={"conv_head": "conv.0", "bn2": "conv.1", "classifier": "classifier"},
    )


def _mobilenetv2(
    network: nn.Module, *, first: Sequence[str], others: Sequence[str], ends: Mapping[str, str]
) -> Rename:
    found = (_BLOCK.fullmatch(path) for path, _ in network.named_modules())
    blocks = [match[1] for match in found if match and not match[2]]
    number = {block: f"features.{index}" for index, block in enumerate(blocks, start=1)}
    names = {
        block: dict(zip(_IN_OTHERS, others, strict=True))
        if index
        else dict(zip(_IN_FIRST, first, strict=True))
        for index, block in enumerate(blocks)
    }
    last = len(blocks) + 1
    outside = {k: v.format(last=last) for k, v in {**_MOBILENETV2_ENDS, **ends}.items()}

    def rename(path: str) -> str:
        match = _BLOCK.fullmatch(path)
        if match is None:
            return outside.get(path, path)
        block, inner = match[1], match[2]
        return f"{number[block]}.{names[block].get(inner, inner)}" if inner else number[block]

    return rename


_CONVNEXT = (
    (re.compile(r"stem"), "downsample_layers.0"),
    (re.compile(r"stages\.(\d+)\.downsample"), r"downsample_layers.\1"),
    (re.compile(r"stages\.(\d+)\.blocks\.(\d+)"), r"stages.\1.\2"),
    (re.compile(r"head\.norm"), "norm"),
    (re.compile(r"head\.fc"), "head"),
)
_IN_CONVNEXT = {"conv_dw": "dwconv", "mlp.fc1": "pwconv1", "mlp.fc2": "pwconv2"}


def convnext_original(network: nn.Module) -> Rename:
    """ConvNeXt as its authors have it: stem and downsampling layers in a list of their own."""
    del network

    def rename(path: str) -> str:
        for pattern, name in _CONVNEXT:
            match = pattern.match(path)
            if match and path[match.end() :][:1] in {"", "."}:
                inner = path[match.end() + 1 :]
                inner = _IN_CONVNEXT.get(inner, inner)
                return match.expand(name) + (f".{inner}" if inner else "")
        return path

    return rename


_IN_DICENET = {
    "stem": "level1",
    "conv": "cbr.0",
    "norm": "cbr.1",
    "act": "cbr.2",
    "depth_conv": "conv_channel",
    "height_conv": "conv_height",
    "width_conv": "conv_width",
    "branch_norm": "br_act.br.0",
    "branch_act": "br_act.br.1",
    "local": "weight_avg_layer",
    "squeeze": "linear_comb_layer.1",
    "excite": "linear_comb_layer.3",
    "project": "proj_layer",
    "hidden": "classifier.0",
    "classifier": "classifier.2",
    **{f"stage{stage}": f"level{stage + 2}" for stage in (1, 2, 3)},
}

_BRANCHES_OF_DICENET = {
    "first left": ("left_layer", "depthwise", "pointwise"),
    "first right": ("right_layer", "pool", "unit", "pointwise"),
    "other right": ("layer_right", "pointwise", "unit"),
}
"""Branches of a stage's first block and of others: released name, and layers in their order."""


def dicenet_original(network: nn.Module) -> Rename:
    """DiCENet as its authors have it: stages are levels from 3 on, layers of a kind numbered."""
    del network

    def rename(path: str) -> str:
        words = path.split(".")
        if words[2:3] in (["left"], ["right"]):
            # a block that strides has its branches the other way round, and one layer more in each
            branch = f"{'first' if words[1] == '0' else 'other'} {words[2]}"
            name, *layers = _BRANCHES_OF_DICENET[branch]
            words[2] = name
            words[3:4] = (str(layers.index(layer)) for layer in words[3:4])
        return ".".join(_IN_DICENET.get(word, word) for word in words)

    return rename
