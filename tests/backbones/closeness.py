"""How close two computations are: relative to the norm, forward and every gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

TOLERANCE = {
    torch.float64: 1e-10,
    torch.float32: 1e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 1e-2,
}
Reference = Callable[[Tensor, Mapping[str, Tensor]], Tensor]


def relative_error(actual: Tensor, wanted: Tensor) -> float:
    """Norm of the difference over the norm of what is wanted, in float64."""
    actual, wanted = (value.detach().cpu().double() for value in (actual, wanted))
    return float((actual - wanted).norm() / wanted.norm().clamp_min(1e-30))


@dataclass(frozen=True)
class Wanted:
    """What a reference gives.

    Attributes:
        output: (N, O, H', W').
        direction: Gradients are of the sum of the output times this, of the same shape.
        gradients: With respect to the input, and to every parameter by its name.
    """

    output: Tensor
    direction: Tensor
    gradients: Mapping[str, Tensor | None]


def wanted_of(operator: nn.Module, x: Tensor, reference: Reference) -> Wanted:
    """Compute in float64 what an operator has to give, from the state in which it is.

    Args:
        operator: In the dtype that is tested; already in training or evaluation mode.
        x: (N, C, H, W), in the same dtype.
        reference: Takes the input and the operator's state, all float64, by name.
    """
    state = {
        name: value.detach().clone().double().cpu() for name, value in operator.state_dict().items()
    }
    learned = {name: state[name].requires_grad_() for name, _ in operator.named_parameters()}
    x = x.detach().clone().double().cpu().requires_grad_()
    y = reference(x, state)
    direction = torch.randn(y.shape, dtype=torch.float64)
    torch.autograd.backward((y * direction).sum())
    gradients = {name: value.grad for name, value in {"input": x, **learned}.items()}
    return Wanted(y.detach(), direction, gradients)


def errors(operator: nn.Module, x: Tensor, wanted: Wanted) -> dict[str, float]:
    """Return the relative errors of the output and of every gradient, by name.

    Args:
        operator: Whose gradients are empty.
        x: (N, C, H, W), any layout.
        wanted: Of this operator in this state and these numbers.
    """
    x = x.detach().requires_grad_()
    y = operator(x)
    torch.autograd.backward((y.double() * wanted.direction.to(y.device)).sum())
    pairs = {"output": (y, wanted.output)}
    for name, gradient in wanted.gradients.items():
        actual = x.grad if name == "input" else operator.get_parameter(name).grad
        assert actual is not None, f"no gradient of {name}"
        assert gradient is not None, f"the reference has no gradient of {name}"
        pairs[f"gradient of {name}"] = (actual, gradient)
    for what, (actual, expected) in pairs.items():
        assert actual.shape == expected.shape, what
    return {what: relative_error(*pair) for what, pair in pairs.items()}


def assert_equals_reference(operator: nn.Module, x: Tensor, reference: Reference) -> None:
    """Compare output and all gradients with those in float64, within the tolerance of the dtype."""
    found = errors(operator, x, wanted_of(operator, x, reference))
    large = {what: f"{error:.1e}" for what, error in found.items() if error > TOLERANCE[x.dtype]}
    assert not large, f"relative errors {large}"
