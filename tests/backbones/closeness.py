"""How close two computations are: relative to the norm, forward and every gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def relative_error(actual: Tensor, wanted: Tensor) -> float:
    """Norm of the difference over the norm of what is wanted, in float64."""
    actual, wanted = actual.detach().double(), wanted.detach().double()
    return float((actual - wanted).norm() / wanted.norm().clamp_min(1e-30))


def assert_equals_reference(
    operator: nn.Module, x: Tensor, reference: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
) -> None:
    """Compare an operator with a float64 reference: output and every gradient.

    Args:
        operator: In the dtype that is tested; already in training or evaluation mode.
        x: (N, C, H, W), in the same dtype, any layout.
        reference: Takes the input and the operator's state, all float64, by name.
    """
    state = {name: value.detach().clone().double() for name, value in operator.state_dict().items()}
    learned = [name for name, _ in operator.named_parameters()]
    for name in learned:
        state[name].requires_grad_()
    x = x.detach().requires_grad_()
    x_wanted = x.detach().double().requires_grad_()

    y = operator(x)
    y_wanted = reference(x_wanted, state)
    direction = torch.randn(y_wanted.shape, dtype=torch.float64)
    torch.autograd.backward((y.double() * direction).sum())
    torch.autograd.backward((y_wanted * direction).sum())

    pairs = {"output": (y, y_wanted), "input gradient": (x.grad, x_wanted.grad)}
    pairs |= {
        f"gradient of {name}": (operator.get_parameter(name).grad, state[name].grad)
        for name in learned
    }
    for what, (actual, wanted) in pairs.items():
        assert actual is not None, f"no {what}"
        assert wanted is not None, f"the reference has no {what}"
        assert actual.shape == wanted.shape, what
        error = relative_error(actual, wanted)
        assert error <= TOLERANCE[x.dtype], f"{what}: relative error {error:.1e}"
