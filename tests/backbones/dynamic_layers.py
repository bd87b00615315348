"""Every method with a kernel for each image, as one layer alone beside its reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from backbones import method as registry
from backbones.errors import SettingError
from backbones.methods import dcd
from backbones.routed_block import RoutedBlock
from backbones.sites import Site
from tests.backbones import (
    reference_cgc,
    reference_condconv,
    reference_dcd,
    reference_dyconv,
    reference_kernel_warehouse,
    reference_odconv,
    reference_weightnet,
)
from tests.backbones.kernel_warehouse_layers import layer_of
from tests.backbones.small_sites import CASES, shake

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Variant:
    """A method with settings.

    Attributes:
        method: Its name.
        reference: From input, state and layer to the output, in float64.
        settings: Those that differ from the defaults.
        fewest_inputs: Channels below which the method makes no sense.
        temperatures: In training, at first and at last; a layer that is built has the last.
    """

    method: str
    reference: Callable[[Tensor, State, Case], Tensor]
    settings: Mapping[str, Any]
    temperatures: tuple[float, ...] = (0.0,)
    fewest_inputs: int = 1

    def takes(self, place: Site) -> bool:
        """Whether the method replaces a convolution like this one."""
        method, settings = registry.get(self.method), self.validated()
        if place.in_channels < self.fewest_inputs or not method.takes(place, settings):
            return False
        try:
            if method.check is not None:
                method.check([place], settings)
        except SettingError:
            return False
        return True

    def validated(self) -> Any:
        """Return the settings as the method has them."""
        return registry.get(self.method).settings.model_validate(self.settings)


@dataclass(frozen=True)
class Case:
    """A layer as it is tested.

    Attributes:
        variant: Method and settings.
        place: The convolution that it stands for.
        training: Whether it is in training mode.
        temperature: Of its attentions, if it has one.
    """

    variant: Variant
    place: Site
    training: bool = False
    temperature: float = 0.0

    def layer(self, *, spread: float = 2.0) -> nn.Module:
        """Build the layer, within its router if it has one.

        Args:
            spread: Standard deviation of what linear layers give for standard normal numbers: by
                default attentions are far from even.
        """
        plan = registry.load_plan(self.variant.method)
        made = plan([self.place], self.variant.validated())
        layer = made["layer"]
        if "block" in made:
            around = made["block"]
            assert isinstance(around, RoutedBlock)
            around.wrap(nn.Sequential(layer))
            layer = around
        for module in layer.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=spread * module.in_features**-0.5)
        shake(layer)
        set_temperature(layer, self.temperature)
        return layer.train(self.training)

    def reference(self, x: Tensor, state: State) -> Tensor:
        """Map (N, C, H, W) as the paper says, in float64."""
        return self.variant.reference(x, state, self)


def set_temperature(network: nn.Module, temperature: float) -> None:
    """Set it wherever there is one."""
    for module in network.modules():
        if hasattr(module, "temperature"):
            vars(module)["temperature"] = temperature


def _inside(state: State, prefix: str) -> State:
    own = {name: value for name, value in state.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): value for name, value in own.items()}


def _kernel_warehouse(x: Tensor, state: State, case: Case) -> Tensor:
    _, layer = layer_of((case.place,), case.variant.validated())
    layer = replace(layer, temperature=case.temperature, training=case.training)
    return reference_kernel_warehouse.kernel_warehouse(x, state, layer)


def _odconv(x: Tensor, state: State, case: Case) -> Tensor:
    kernels = case.variant.validated().kernels
    layer = reference_odconv.Layer(case.place, kernels, case.temperature, case.training)
    return reference_odconv.odconv(x, state, layer)


def _dyconv(x: Tensor, state: State, case: Case) -> Tensor:
    return reference_dyconv.dyconv(x, state, site=case.place, temperature=case.temperature)


def _condconv(x: Tensor, state: State, case: Case) -> Tensor:
    pooled = x.mean((2, 3))
    rows = [reference_condconv.routing(row, state, prefix="router.") for row in pooled]
    inside = _inside(state, "block.0.")
    return reference_condconv.condconv(x, torch.stack(rows), inside, site=case.place)


def _dcd(x: Tensor, state: State, case: Case) -> Tensor:
    side = dcd.pooled_side(case.place, case.variant.validated())
    return reference_dcd.layer(x, state, site=case.place, side=side, training=case.training)


def _weightnet(x: Tensor, state: State, case: Case) -> Tensor:
    weight, bias = state["router.linear.weight"], state["router.linear.bias"]
    reduced = reference_weightnet.reduction(x, weight=weight, bias=bias)
    return reference_weightnet.weightnet(x, reduced, _inside(state, "block.0."), site=case.place)


def _cgc(x: Tensor, state: State, case: Case) -> Tensor:
    return reference_cgc.context_gated(x, state, site=case.place, training=case.training)


VARIANTS: Mapping[str, Variant] = {
    "kernel_warehouse": Variant("kernel_warehouse", _kernel_warehouse, {}, (0.9, 0.3, 0.0)),
    "kernel_warehouse(budget=4)": Variant(
        "kernel_warehouse", _kernel_warehouse, {"budget": 4}, (0.9, 0.3, 0.0)
    ),
    "kernel_warehouse(budget=0.5)": Variant(
        "kernel_warehouse", _kernel_warehouse, {"budget": 0.5}, (0.9, 0.3, 0.0)
    ),
    "odconv": Variant("odconv", _odconv, {}, (30.0, 3.0, 1.0)),
    "odconv(kernels=4)": Variant("odconv", _odconv, {"kernels": 4}, (30.0, 3.0, 1.0)),
    "dyconv": Variant("dyconv", _dyconv, {}, (34.0, 3.0, 1.0)),
    "condconv": Variant("condconv", _condconv, {"experts": 3}),
    # a norm over one fused channel of one image undoes what the channel is scaled by
    "dcd": Variant("dcd", _dcd, {}, fewest_inputs=4),
    "dcd(rule=basic)": Variant("dcd", _dcd, {"rule": "basic"}),
    "weightnet": Variant("weightnet", _weightnet, {"hidden": 1, "groups": 1}),
    "weightnet(hidden=3)": Variant("weightnet", _weightnet, {"hidden": 3, "groups": 1}),
    "cgc": Variant("cgc", _cgc, {}),
}


def cases(*places: str, variants: Iterable[str] = ()) -> dict[str, Case]:
    """Return variants in each place that their method takes, in evaluation mode.

    Args:
        places: Names in `CASES`; all of them if none is given.
        variants: Names in `VARIANTS`; all of them if none is given.
    """
    return {
        f"{name}: {place}": Case(
            VARIANTS[name], CASES[place], temperature=VARIANTS[name].temperatures[-1]
        )
        for name in variants or VARIANTS
        for place in places or CASES
        if VARIANTS[name].takes(CASES[place])
    }
