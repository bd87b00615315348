"""KernelWarehouse number by number, in float64 (arXiv 2406.07879, equations 1 to 5 and appendix).

Nothing here knows the operator: kernels are filled cell by cell, attentions row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from backbones.sites import Site
from tests.backbones.slow_convolution import slow_convolution


@dataclass(frozen=True)
class Layer:
    """One layer, as a reader of the paper would describe it.

    Attributes:
        site: The convolution.
        cell: Outputs and inputs of a cell.
        cells: Cells in the warehouse.
        first: First cell that the layer owns.
        budget: Cells per mixture.
        apart: Whether each mixture draws on the cells of its own alone.
        temperature: Weight of the start-up assignment.
        training: Whether a batch normalisation looks at the batch.
    """

    site: Site
    cell: tuple[int, int]
    cells: int
    first: int
    budget: float
    apart: bool = False
    temperature: float = 0.0
    training: bool = True

    @property
    def kernel(self) -> tuple[int, int, int, int]:
        """Outputs, inputs of a group, height, width."""
        site = self.site
        return site.out_channels, site.in_channels // site.groups, *site.kernel_size


def kernel_warehouse(x: Tensor, state: Mapping[str, Tensor], layer: Layer) -> Tensor:
    """Convolve (N, C, H, W) with a kernel for each image."""
    logits = _logits(x.mean(dim=(2, 3)), state, layer)
    images = []
    for n in range(x.shape[0]):
        alpha = [_attention(row, layer) for row in logits[n]]
        kernel = _kernel(alpha, state["warehouse.cells"], layer)
        images.append(slow_convolution(x[n], kernel, layer.site))
    y = torch.stack(images)
    return y + state["bias"].reshape(1, -1, 1, 1) if "bias" in state else y


def mixtures(layer: Layer) -> list[tuple[int, int, int, int]]:
    """Row and column in the kernel, first output and first input of each mixture, in order."""
    outputs, inputs, height, width = layer.kernel
    return [
        (row, column, p, q)
        for row in range(height)
        for column in range(width)
        for p in range(0, outputs, layer.cell[0])
        for q in range(0, inputs, layer.cell[1])
    ]


def startup(layer: Layer) -> list[int | None]:
    """The cell that each mixture starts from; None is the dummy cell."""
    count = len(mixtures(layer))
    if layer.budget >= 1:
        return [layer.first + i * int(layer.budget) for i in range(count)]
    period = int(1 / layer.budget)
    chosen: list[int | None] = []
    following = layer.first
    for i in range(count):
        if i % period == (i // period) % period:
            chosen.append(following)
            following += 1
        else:
            chosen.append(None)
    return chosen


def _logits(pooled: Tensor, state: Mapping[str, Tensor], layer: Layer) -> Tensor:
    hidden = pooled @ state["attention.reduce.weight"].T
    if "attention.reduce.bias" in state:
        hidden = hidden + state["attention.reduce.bias"]
    hidden = _normalise(hidden, state, layer).clamp_min(0)
    count = len(mixtures(layer))
    if "attention.logits.weight" in state:
        flat = hidden @ state["attention.logits.weight"].T + state["attention.logits.bias"]
        return flat.reshape(len(pooled), count, -1)
    return _far_logits(hidden, state, layer)


def _far_logits(hidden: Tensor, state: Mapping[str, Tensor], layer: Layer) -> Tensor:
    count = len(mixtures(layer))
    owned = int(layer.budget * count)
    basis = state["attention.logits.far.weight"].shape[1]
    rows = (hidden @ state["attention.logits.near.weight"].T).reshape(len(hidden), count, -1)
    offset = state["attention.logits.offset"].reshape(count, layer.cells + 1)
    images = []
    for image in rows:
        for i, row in enumerate(image):
            far = state["attention.logits.far.weight"] @ row[owned : owned + basis]
            parts = (far[: layer.first], row[:owned], far[layer.first :], row[owned + basis :])
            images.append(torch.cat(parts) + offset[i])
    return torch.stack(images).reshape(len(hidden), count, layer.cells + 1)


def _normalise(hidden: Tensor, state: Mapping[str, Tensor], layer: Layer) -> Tensor:
    scale, shift = state["attention.norm.weight"], state["attention.norm.bias"]
    if "attention.norm.running_mean" not in state:
        mean, var = hidden.mean(1, keepdim=True), hidden.var(1, unbiased=False, keepdim=True)
    elif layer.training and len(hidden) > 1:
        mean, var = hidden.mean(0), hidden.var(0, unbiased=False)
    else:
        mean, var = state["attention.norm.running_mean"], state["attention.norm.running_var"]
    return (hidden - mean) / (var + 1e-5).sqrt() * scale + shift


def _attention(row: Tensor, layer: Layer) -> Tensor:
    """Contrasting: each logit over the sum of absolute values, dummy cell included."""
    return (1 - layer.temperature) * row / (row.abs().sum() + 1e-3)


def _kernel(alpha: list[Tensor], cells: Tensor, layer: Layer) -> Tensor:
    kernel = torch.zeros(layer.kernel, dtype=torch.float64)
    starts = startup(layer)
    for i, (row, column, p, q) in enumerate(mixtures(layer)):
        start = starts[i]
        count = int(layer.budget)
        drawn = cells[..., i * count : (i + 1) * count] if layer.apart else cells
        mixed = (alpha[i][:-1] * drawn).sum(2)
        if start is not None:
            mixed = mixed + layer.temperature * cells[..., start]
        here = torch.zeros(layer.kernel, dtype=torch.float64)
        here[p : p + layer.cell[0], q : q + layer.cell[1], row, column] = 1
        spread = torch.zeros(layer.kernel, dtype=torch.float64)
        spread = spread.index_put(here.nonzero(as_tuple=True), mixed.flatten())
        kernel = kernel + spread
    return kernel
