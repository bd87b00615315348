"""Names and shapes of what authors released, as lists in ``released/<method>.txt.gz``.

The lists were made once by building each network with the authors' own code (named in the lists)
and printing its state dict. A list begins with ``# backbone parameters source``; then comes a
tensor a line, its name and its shape with x between the numbers (none for a scalar).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

FOLDER = Path(__file__).with_name("released")
COUNTER = "num_batches_tracked"


@dataclass
class Released:
    """One network of a release.

    Attributes:
        backbone: Its text here.
        params: Parameters of the authors' network.
        source: Where it comes from.
        shapes: By the authors' names, in their order.
    """

    backbone: str
    params: int
    source: str
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def on_meta(self) -> dict[str, Tensor]:
        """Tensors without values."""
        return {
            name: torch.empty(shape, dtype=_dtype(name), device="meta")
            for name, shape in self.shapes.items()
        }

    def drawn(self, *, seed: int = 0) -> dict[str, Tensor]:
        """Tensors with values by which networks keep their signal; variances are positive."""
        generator = torch.Generator().manual_seed(seed)
        return {name: _draw(name, shape, generator) for name, shape in self.shapes.items()}


def _dtype(name: str) -> torch.dtype:
    return torch.int64 if name.endswith(COUNTER) else torch.float32


def _draw(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if name.endswith(COUNTER):
        return torch.tensor(7)
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        return torch.rand(shape, generator=generator) + 0.5
    return torch.randn(shape, generator=generator) * 0.1


def every() -> list[Released]:
    """All of them."""
    return [network for file in sorted(FOLDER.glob("*.txt.gz")) for network in of_method(file.name)]


def named(backbone: str) -> Released:
    """The one of a backbone."""
    return next(network for network in every() if network.backbone == backbone)


@cache
def of_method(file: str) -> tuple[Released, ...]:
    return tuple(_read(FOLDER / file))


def _read(file: Path) -> Iterator[Released]:
    found: Released | None = None
    for line in gzip.decompress(file.read_bytes()).decode().splitlines():
        if line.startswith("# "):
            if found is not None:
                yield found
            backbone, params, source = line.removeprefix("# ").split(" ", 2)
            found = Released(backbone, int(params), source)
        elif found is not None:
            name, _, shape = line.partition(" ")
            found.shapes[name] = tuple(map(int, shape.split("x"))) if shape else ()
    if found is not None:
        yield found
