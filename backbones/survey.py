"""Find the sites of a network by building and running it once on the `meta` device.

What follows what is read from the tensors that pass between modules, so the same rules serve any
timm or torchvision network:

* A *block* is an innermost numbered module (``layer1.0``, ``stages.2.blocks.7``, ``features.3``)
  with at least two convolutions or linear layers. Blocks with one parent form a *stage*; where all
  share one parent, a stage is a resolution.
* What runs before the first block is stem (stage -1); what runs after the last has the number of
  stages as its stage.
* A *gate* stands after the last normalisation of a block when no convolution follows it on the
  main path and it has the block's output shape; else after a layer (stochastic depth, layer scale)
  that ends the main path with that shape.

What follows what does not depend on the image: a small one gets the sites of a large one, with its
own map sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from torch import nn

from backbones import network as networks
from backbones.errors import UnsupportedNetworkError
from backbones.forward_trace import Call, trace
from backbones.resolve import Resolved, resolve
from backbones.roles import channels_of, in_shortcut, pair, role_of
from backbones.sites import Role, Site, Slot
from backbones.stages import Plan, is_inside, map_size, map_stride, on_pooled

_AMPLE = 224  # pixels at which no map of a block is 1x1
_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.InstanceNorm2d,
)


def survey(network: str | Resolved, *, image_size: int, classes: int) -> list[Site]:
    """Do the work of `sites.sites`, once per network, size and number of classes."""
    plain = resolve(network).plain
    return list(_survey(plain.network, plain.options, image_size, classes))


@lru_cache(maxsize=64)
def _survey(
    name: str, options: networks.Options, image_size: int, classes: int
) -> tuple[Site, ...]:
    network = networks.create(
        name, options=options, classes=classes, image_size=image_size, device="meta"
    )
    try:
        return tuple(find(network, image_size=image_size))
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise UnsupportedNetworkError(
            f"{name} does not take one {image_size}x{image_size} image: {error}; "
            "choose another image size, or a network that classifies images"
        ) from error


def find(network: nn.Module, *, image_size: int) -> list[Site]:
    """List the sites of a network that is on the `meta` device."""
    calls = trace(network, image_size=image_size)
    if image_size >= _AMPLE or not any(on_pooled(call) for call in calls):
        return _read(network, calls)
    # ordinary maps of a small image shrink to the 1x1 by which the layers of an attention are known
    try:
        ample = trace(network, image_size=_AMPLE)
    except (RuntimeError, ValueError, AssertionError, TypeError):  # it is built for one size
        return _read(network, calls)
    return [_sized(site, calls) for site in _read(network, ample)]


def _read(network: nn.Module, calls: Sequence[Call]) -> list[Site]:
    order = {name: rank for rank, (name, _) in enumerate(network.named_modules())}
    layers = [call for call in calls if isinstance(call.module, nn.Conv2d | nn.Linear)]
    plan = Plan.of(calls, layers)
    found = [_layer_site(call, calls, plan) for call in layers]
    for block in plan.blocks:
        found.append(_block_site(block, plan))
        gate = _gate_site(block, calls, plan)
        if gate is not None:
            found.append(gate)
    # a gate that fills an attribute of its block has no module yet: it stands where its block does
    return sorted(
        found, key=lambda site: (order.get(site.name, order.get(site.block_name)), site.kind)
    )


def _sized(site: Site, calls: Iterable[Call]) -> Site:
    """Give a site the map sizes of other calls of its network."""
    is_gate = Slot.GATE in site.slots
    name = site.block_name if is_gate else site.name
    call = next(call for call in calls if call.name == name)
    out_size = map_size(call.out_shape, call.module)
    in_size = out_size if is_gate else map_size(call.in_shape, call.module)
    return replace(site, in_size=in_size, out_size=out_size)


def _layer_site(call: Call, calls: Sequence[Call], plan: Plan) -> Site:
    stage, rank, block = plan.place(call)
    norm = _follower(call, calls, _NORMS)
    act = _follower(norm, calls, None) if norm is not None else None
    module = call.module
    slots = {Slot.CONV} if _is_ordinary(module) else set()
    if norm is not None and slots:
        slots.add(Slot.CONV_NORM_ACT)
    channels_in, channels_out = channels_of(module)
    return Site(
        name=call.name,
        slots=frozenset(slots),
        role=role_of(call, plan, stage=stage, block=block),
        stage=stage,
        block=rank,
        block_name=block.name if block is not None else "",
        kind="conv2d" if isinstance(module, nn.Conv2d) else "linear",
        in_channels=channels_in,
        out_channels=channels_out,
        bias=module.bias is not None,
        in_size=map_size(call.in_shape, module),
        out_size=map_size(call.out_shape, module),
        norm=norm.name if norm is not None else "",
        act=act.name if act is not None else "",
        act_type=_act_type(act, norm),
        block_in_channels=_block_depth(block),
        **_shape(module),
    )


def _shape(module: nn.Module) -> dict[str, Any]:
    """Return the fields of a site that only a convolution has."""
    if not isinstance(module, nn.Conv2d):
        return {}
    return {
        "kernel_size": pair(module.kernel_size),
        "stride": pair(module.stride),
        "padding": pair(module.padding) if not isinstance(module.padding, str) else (0, 0),
        "dilation": pair(module.dilation),
        "groups": module.groups,
    }


def _block_site(block: Call, plan: Plan) -> Site:
    stage, rank, _ = plan.place(block)
    in_size, out_size = (
        map_size(shape, block.module) for shape in (block.in_shape, block.out_shape)
    )
    core = plan.cores.get(block.name)
    return Site(
        name=block.name,
        slots=frozenset({Slot.BLOCK}),
        role=Role.BLOCK,
        stage=stage,
        block=rank,
        block_name=block.name,
        kind="block",
        in_channels=_depth(block.in_shape),
        block_in_channels=_block_depth(block),
        out_channels=_depth(block.out_shape),
        in_size=in_size,
        out_size=out_size,
        **({"stride": map_stride(in_size, out_size)} if core is None else _shape(core.module)),
    )


def _gate_site(block: Call, calls: Sequence[Call], plan: Plan) -> Site | None:
    """Return the place after the last normalisation of the main path.

    timm's ResNets keep an attribute for it, `se`, which is used so that names match.
    """
    if len(block.out_shape) != 4:
        return None
    inside = [c for c in calls if is_inside(c, block) and not in_shortcut(c.name, block)]
    runs = Counter(call.name for call in calls)  # what runs twice stands in two places
    ends = [c for c in inside if c.out_shape == block.out_shape and runs[c.name] == 1]
    layers = [c.end for c in inside if isinstance(c.module, nn.Conv2d | nn.Linear)]
    last_layer = max(layers, default=0)
    norms = [c for c in ends if isinstance(c.module, _NORMS) and c.end > last_layer]
    others = [c for c in ends if c.end > last_layer and _is_passing(c.module)]
    place = norms[-1] if norms else (others[-1] if others else None)
    if place is None:
        return None
    own = _has_empty_gate(block.module)
    stage, rank, _ = plan.place(block)
    size = map_size(place.out_shape, place.module)
    return Site(
        name=f"{block.name}.se" if own else place.name,
        slots=frozenset({Slot.GATE}),
        role=Role.GATE,
        stage=stage,
        block=rank,
        block_name=block.name,
        kind="gate",
        in_channels=place.out_shape[1],
        block_in_channels=_block_depth(block),
        out_channels=place.out_shape[1],
        in_size=size,
        out_size=size,
    )


def _has_empty_gate(module: nn.Module) -> bool:
    """Whether a block keeps an attribute for a gate at this very place (timm's ResNets do)."""
    return type(module).__module__ == "timm.models.resnet" and getattr(module, "se", module) is None


def _is_passing(module: nn.Module) -> bool:
    """Whether a layer hands a map on as it is, at most scaled."""
    name = type(module).__name__
    return isinstance(module, nn.Identity) or "DropPath" in name or "LayerScale" in name


def _follower(
    call: Call, calls: Iterable[Call], kinds: tuple[type[nn.Module], ...] | None
) -> Call | None:
    """Return the norm (of `kinds`) or activation (None) that takes the very output of `call`."""
    for other in calls:
        if other.begin > call.end and call.output is not None and call.output in other.inputs:
            matches = (
                isinstance(other.module, kinds) if kinds is not None else _is_act(other.module)
            )
            if matches:
                return other
    return None


def _is_act(module: nn.Module) -> bool:
    return type(module).__module__ in {
        "torch.nn.modules.activation",
        "timm.layers.activations",
        "timm.layers.activations_me",
    } and not isinstance(module, nn.MultiheadAttention)


def _act_type(act: Call | None, norm: Call | None) -> str:
    """Name the activation after a norm, also where timm keeps it inside the norm's module."""
    inner = getattr(norm.module, "act", None) if norm is not None else None
    module = act.module if act is not None else inner
    if module is None or isinstance(module, nn.Identity):
        return ""
    return type(module).__name__.lower()


def _is_ordinary(module: nn.Module) -> bool:
    """Whether a layer computes what its class says; with a forward of its own it offers no slot."""
    return type(module).forward in {nn.Conv2d.forward, nn.Linear.forward} and not isinstance(
        getattr(module, "padding", 0), str
    )


def _depth(shape: tuple[int, ...]) -> int:
    return shape[1] if len(shape) == 4 else (shape or (1,))[-1]


def _block_depth(block: Call | None) -> int:
    takes_one = block is not None and block.is_direct and len(block.inputs) == 1
    return _depth(block.in_shape) if block is not None and takes_one else 0
