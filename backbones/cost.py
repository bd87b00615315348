"""Parameters and multiply-adds in one stated convention.

Multiply-adds are those of convolutions, linear layers and matrix products for one image (batch 1)
in evaluation mode. The assembly of
dynamic kernels is included and also shown apart: it is what runs inside modules whose class says
``cost_kind = "assembly"``. Bias,
normalisation, activation, pooling and element-wise products count nothing. A multiply and an add
together are one. Where weights are zero by construction, the module says in ``cost_share`` (a
fraction) which share of its own products counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from backbones.build import build
from backbones.resolve import Resolved, resolve
from backbones.sites import Pair

ASSEMBLY = "assembly"


@dataclass(frozen=True)
class LayerCost:
    """What one module costs.

    Attributes:
        params: Its own parameters (a shared one counts where it stands first).
        madds: Multiply-adds in it, without its children's.
        madds_assembly: The part of them that assembles kernels.
    """

    params: int
    madds: int
    madds_assembly: int


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        params: Parameters, each counted once.
        madds: Multiply-adds for one image.
        madds_assembly: The part of them that assembles kernels.
        layers: Dotted path to the cost of each module that has any.
    """

    params: int
    madds: int
    madds_assembly: int
    layers: Mapping[str, LayerCost] = field(repr=False)


def cost(text: str | Resolved, *, classes: int = 1000, image_size: int = 224) -> Cost:
    """Count a backbone on the `meta` device: no weights, well under a second.

    Args:
        text: The backbone.
        classes: Width of the classifier.
        image_size: Side of the input in pixels.

    Raises:
        BackboneError: The backbone cannot be built.
    """
    return _cost(resolve(text), classes, image_size)


@lru_cache(maxsize=256)
def _cost(resolved: Resolved, classes: int, image_size: int) -> Cost:
    network = build(resolved, classes=classes, image_size=image_size, device="meta")
    return count(network, image_size=image_size)


def count(network: nn.Module, *, image_size: int | Pair, channels: int = 3) -> Cost:
    """Count a network that is on the `meta` device.

    Args:
        network: Maps (1, channels, H, W) to whatever it does.
        image_size: Side of the square input in pixels, or its height and width.
        channels: Of the input.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    counter = _Counter()
    handles = [h for name, module in network.named_modules() for h in counter.attach(name, module)]
    training = network.training
    network.eval()
    try:
        with torch.no_grad(), counter:
            network(torch.empty(1, channels, height, width, device="meta"))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return counter.total(network)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type it
    """Adds up the multiply-adds of each operation under the innermost module that runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not type it
        self._running: list[tuple[str, bool]] = []
        self._shares: dict[str, Fraction] = {}
        self._madds: dict[str, int] = defaultdict(int)
        self._assembly: dict[str, int] = defaultdict(int)

    def attach(self, name: str, module: nn.Module) -> list[Any]:
        assembles = getattr(module, "cost_kind", "") == ASSEMBLY
        self._shares[name] = getattr(module, "cost_share", Fraction(1))

        def enter(_: nn.Module, __: tuple[Any, ...]) -> None:
            inherited = bool(self._running) and self._running[-1][1]
            self._running.append((name, assembles or inherited))

        def leave(_: nn.Module, __: tuple[Any, ...], ___: object) -> None:
            self._running.pop()

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        formula: Callable[..., int] | None = flop_registry.get(func.overloadpacket)
        if formula is not None and self._running:
            # torch counts a multiply and an add as two
            madds = formula(*args, **(kwargs or {}), out_val=out) // 2
            name, assembles = self._running[-1]
            madds = int(madds * self._shares[name])
            self._madds[name] += madds
            self._assembly[name] += madds if assembles else 0
        return out

    def total(self, network: nn.Module) -> Cost:
        own = {
            name: sum(parameter.numel() for parameter in module.parameters(recurse=False))
            for name, module in network.named_modules()
        }
        params = {name: n for name, n in own.items() if n}
        layers = {
            name: LayerCost(params.get(name, 0), self._madds[name], self._assembly[name])
            for name in own
            if name in params or name in self._madds
        }
        return Cost(
            params=sum(parameter.numel() for parameter in network.parameters()),
            madds=sum(self._madds.values()),
            madds_assembly=sum(self._assembly.values()),
            layers=layers,
        )
