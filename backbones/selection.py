"""Which sites a method takes. No torch: submission asks the same question as the builder."""

from __future__ import annotations

from collections.abc import Sequence

from backbones import method as registry
from backbones.errors import UnsupportedNetworkError
from backbones.method import Method, MethodSettings
from backbones.sites import Site, Slot


def select(
    name: str, settings: MethodSettings, found: Sequence[Site], *, network: str
) -> list[Site]:
    """Return the sites of a network that a method takes, in their order.

    Raises:
        UnsupportedNetworkError: It takes none; says what it needs and what the network offers.
        SettingError: These sites cannot serve the settings.
    """
    method = registry.get(name)
    offered = [site for site in found if method.slot in site.slots]
    taken = [site for site in offered if method.takes(site, settings)]
    if method.narrow is not None:
        taken = list(method.narrow(taken, settings))
    if not taken:
        needs = method.needs or _NEEDS[method.slot]
        raise UnsupportedNetworkError(
            f"{network}/{name}: nothing to replace; {name} needs {needs}, "
            f"and {network} offers {_offer(offered, found, method)}"
        )
    if method.check is not None:
        method.check(taken, settings)
    return taken


_NEEDS = {
    Slot.CONV: "convolutions (or linear layers) of the roles it replaces",
    Slot.CONV_NORM_ACT: "convolutions that a normalisation follows",
    Slot.GATE: "residual blocks that end in a feature map",
    Slot.BLOCK: "residual blocks",
}


def _offer(offered: Sequence[Site], found: Sequence[Site], method: Method) -> str:
    layers = sum(site.kind in {"conv2d", "linear"} for site in found)
    if not offered:
        return f"none ({layers} convolutions and linear layers in all)"
    if method.needs:
        return f"{len(offered)} {_NEEDS[method.slot]} of another kind"
    roles = sorted({site.role.value for site in offered})
    return f"{len(offered)} of them, none that it takes (roles: {', '.join(roles)})"
