"""Focal loss over classes that exclude each other not (sigmoid), forward and backward."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor
from torch.nn import functional

from detection.ops.precision import wide


def sigmoid_focal_loss_forward(
    logits: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    """Fill `output` with the loss of each logit.

    Args:
        logits: (N, C).
        target: (N,) int64 in [0, C]; C is the background.
        weight: (C,) of the classes, or empty.
        output: (N, C).
        gamma: How much sure answers count less, >= 0.
        alpha: Weight of the class that is there, in [0, 1]; the others have 1 - alpha.
    """
    output.copy_(_loss(wide(logits), target, weight, gamma=gamma, alpha=alpha))


def sigmoid_focal_loss_backward(
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    *,
    gamma: float,
    alpha: float,
) -> None:
    """Fill `grad_input` with the derivative of each loss after its logit."""
    with torch.enable_grad():
        free = wide(logits).detach().requires_grad_()
        loss = _loss(free, target, weight, gamma=gamma, alpha=alpha)
        (gradient,) = torch.autograd.grad(loss.sum(), free)
    grad_input.copy_(gradient)


def _loss(logits: Tensor, target: Tensor, weight: Tensor, *, gamma: float, alpha: float) -> Tensor:
    classes = logits.shape[1]
    wanted = functional.one_hot(target, classes + 1)[:, :classes].to(logits.dtype)
    loss: Tensor = torchvision.ops.sigmoid_focal_loss(logits, wanted, alpha=alpha, gamma=gamma)
    if weight.numel():
        # of the background none is known
        loss = loss * functional.pad(weight, (0, 1), value=1.0)[target][:, None]
    return loss
