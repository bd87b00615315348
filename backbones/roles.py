"""What the layers of a network do in it, read from the calls of one forward pass."""

from __future__ import annotations

from torch import nn

from backbones.forward_trace import Call
from backbones.sites import Pair, Role
from backbones.stages import Plan, is_attention, is_depthwise

_SHORTCUT = {"downsample", "shortcut", "skip", "conv_skip", "identity"}


def role_of(call: Call, plan: Plan, *, stage: int, block: Call | None) -> Role:
    """Return the role of a layer.

    Args:
        call: The layer.
        plan: Of its network.
        stage: In which it stands.
        block: In which it stands, None outside blocks.
    """
    module = call.module
    if call.name == plan.last_linear and block is None:
        return Role.CLASSIFIER
    if stage < 0 or call.name == plan.first_layer:
        return Role.STEM
    if in_shortcut(call.name, block):
        return Role.SHORTCUT
    if block is None and plan.stages and stage <= max(plan.stages):
        return Role.DOWNSAMPLE
    if block is not None and is_attention(call, block):
        return Role.ATTENTION
    if is_depthwise(module):
        return Role.DEPTHWISE
    if isinstance(module, nn.Conv2d) and pair(module.kernel_size) != (1, 1):
        return Role.SPATIAL
    return _pointwise_role(module, inverted=block is not None and block.name in plan.depthwise)


def _pointwise_role(module: nn.Module, *, inverted: bool) -> Role:
    """Tell widening from narrowing, beside a depthwise convolution and in an MLP only."""
    channels_in, channels_out = channels_of(module)
    if not (inverted or isinstance(module, nn.Linear)) or channels_in == channels_out:
        return Role.POINTWISE
    return Role.EXPAND if channels_out > channels_in else Role.PROJECT


def in_shortcut(name: str, block: Call | None) -> bool:
    """Whether a module stands beside the main path of its block."""
    inner = name[len(block.name) + 1 :] if block is not None else ""
    return bool(_SHORTCUT & set(inner.split(".")))


def channels_of(module: nn.Module) -> tuple[int, int]:
    """Return the channels (features) in and out of a convolution or linear layer."""
    if isinstance(module, nn.Conv2d):
        return module.in_channels, module.out_channels
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features


def pair(value: int | tuple[int, ...]) -> Pair:
    """Return height and width of what may be one number for both."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
