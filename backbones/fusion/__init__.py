"""Inference fusion: norms into the layers before them, branches together where algebra allows.

A norm is folded into the layer before it only where nothing else uses that layer's output, and an
activation likewise (see `followers`). A method's module says how it fuses inside (`Fuses`), and how
it takes up a norm behind it (`Absorbs`), where it is not a usual convolution.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Protocol, cast, runtime_checkable

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from backbones.fusion.affine import affine_of
from backbones.fusion.conv import FoldedConv2d
from backbones.fusion.followers import called, followers
from backbones.fusion.linear import FoldedLinear
from backbones.fusion.post_op import ACTIVATIONS

_FOLDED: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Conv2d: FoldedConv2d,
    nn.Linear: FoldedLinear,
}
"""What stands for a layer that takes up what follows it."""


@runtime_checkable
class Fuses(Protocol):
    """A module that knows a faster form of itself for inference."""

    def fused(self) -> nn.Module:
        """Return a module that computes the same in evaluation mode; this one stays as it is."""


@runtime_checkable
class Absorbs(Protocol):
    """A module other than a usual convolution that can take up a norm behind it."""

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Let the output be what it is now times `scale` plus `shift`, (O,) float64 each."""


def fuse(network: nn.Module, *, image_size: int = 224, in_place: bool = False) -> nn.Module:
    """Return a network for inference, with the same outputs to rounding.

    Args:
        network: Any network of images, on any device but `meta`.
        image_size: Side in pixels of an image that the network takes.
        in_place: Use up the network rather than copy it, where memory counts.

    Returns:
        It, in evaluation mode and without gradients of its parameters. It is not for training or
        for saving: names and shapes of its parameters are its own. On a CPU its maps are
        channels-last.
    """
    fused = (network if in_place else copy.deepcopy(network)).eval().requires_grad_(False)
    _replace(fused)
    found = followers(fused, image_size=image_size, layer=_is_layer, norm=_is_norm, act=_is_act)
    for path, behind in found.items():
        layer = fused.get_submodule(path)
        norm = fused.get_submodule(behind.norm) if behind.norm else None
        affine = None if norm is None else affine_of(cast("nn.BatchNorm2d", norm))
        gone = {behind.norm}
        if type(layer) in _FOLDED:
            act = fused.get_submodule(behind.act) if behind.act else None
            fused.set_submodule(path, _FOLDED[type(layer)](layer, affine, act=act))
            gone.add(behind.act)
        elif affine is not None and isinstance(layer, Absorbs):
            layer.absorb(*affine)
        for each in gone - {""}:
            fused.set_submodule(each, nn.Identity())
    _unwrap(fused, image_size=image_size)
    return fused


def _unwrap(network: nn.Module, *, image_size: int) -> None:
    """Let what alone is left of a row of layers stand in its place: a call takes time, too."""
    # a row that is not called as such is gone through one by one, and has to stay one
    for path in reversed(called(network, image_size=image_size, kind=nn.Sequential)):
        left = [m for m in network.get_submodule(path).children() if type(m) is not nn.Identity]
        if path and len(left) <= 1:
            network.set_submodule(path, left[0] if left else nn.Identity())


def _replace(network: nn.Module) -> None:
    """Let modules that know a faster form give it, and norms that activate be two modules."""
    done: list[str] = []
    for path, module in list(network.named_modules()):
        if not path or any(path.startswith(f"{outer}.") for outer in done):
            continue
        if _is_as_made(module) and isinstance(module, Fuses):
            network.set_submodule(path, module.fused().eval().requires_grad_(False))
            done.append(path)
        elif type(module) is BatchNormAct2d:
            network.set_submodule(path, _in_parts(module))
            done.append(path)


def _is_as_made(module: nn.Module) -> bool:
    """Whether nothing inside was replaced by something of another origin, a method's layer, say."""
    home = type(module).__module__.rpartition(".")[0]
    kinds = {type(part).__module__ for part in module.modules()} - {type(module).__module__}
    return all(f"{kind}.".startswith(("torch.nn.", f"{home}.")) for kind in kinds)


def _in_parts(norm: BatchNormAct2d) -> nn.Sequential:
    with torch.device("meta"):
        plain = nn.BatchNorm2d(norm.num_features, norm.eps)
    plain.weight, plain.bias = norm.weight, norm.bias
    plain.running_mean, plain.running_var = norm.running_mean, norm.running_var
    return nn.Sequential(plain.eval(), norm.drop, norm.act)


def _is_layer(module: nn.Module) -> bool:
    if type(module) is nn.Conv2d:
        return module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return type(module) is nn.Linear or isinstance(module, Absorbs)


def _is_norm(module: nn.Module) -> bool:
    # exact types: a subclass may compute something else
    is_batch_norm = type(module) in {nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm}
    return is_batch_norm and cast("nn.BatchNorm2d", module).running_mean is not None


def _is_act(module: nn.Module) -> bool:
    return type(module) in ACTIVATIONS
