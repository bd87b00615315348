"""How much the maps of one layer repeat each other, which is what SPConv and Ghost start from.

Two maps are compared as vectors over all positions of all images. A map that has one value
everywhere is *dead*: it has no pattern to compare, so it takes no part, and its rows and columns
hold nought. Shape suffixes: C channels, P positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Matrix = NDArray[np.float32]
    Vector = NDArray[np.float64]

ALIKE = 0.9
"""From this absolute similarity on, a map is counted as a repetition of another."""


class Measure(StrEnum):
    """How alike two maps are, from -1 to 1."""

    COSINE = "cosine"
    """Of the angle between the two; maps after a ReLU have no sign, which alone makes it large."""
    CORRELATION = "correlation"
    """Pearson's, the cosine once each map's mean is taken off."""


@dataclass(frozen=True)
class Statistics:
    """What the maps of a layer are by themselves and beside each other.

    Attributes:
        positions: Over how many values of each map, all images together.
        mean: (C,) mean value.
        zeros_pct: (C,) share of values that are exactly nought, 0 to 100.
        norm: (C,) Euclidean norm over all positions.
        dead: (C,) whether the map has one value everywhere.
        similarities: (C, C) for each measure: symmetric, 1 on the diagonal; nought where dead.
    """

    positions: int
    mean: Vector
    zeros_pct: Vector
    norm: Vector
    dead: NDArray[np.bool_]
    similarities: dict[Measure, Matrix]


@dataclass(frozen=True)
class Pair:
    """Two maps that are like each other."""

    first: int
    second: int
    similarity: float


@dataclass(frozen=True)
class Redundancy:
    """How much maps repeat each other.

    Attributes:
        living: Maps that are not dead.
        repeated_pct: Share of the living maps whose nearest other living map has an absolute
            similarity of at least `ALIKE`, 0 to 100; None with fewer than two living maps.
        mean_nearest: Mean over the living maps of the absolute similarity to the nearest other
            one; None likewise.
        nearest: (C,) the nearest other living map; -1 for dead maps and where there is none.
        pairs: The most similar pairs of living maps, by absolute similarity.
    """

    living: int
    repeated_pct: float | None
    mean_nearest: float | None
    nearest: NDArray[np.int64]
    pairs: tuple[Pair, ...]


class Moments:
    """Sums over the maps of any number of images, one image at a time.

    Values are taken relative to the first image's means, so that a small pattern on a large offset
    keeps its digits.
    """

    def __init__(self, x_CP: Tensor) -> None:
        """Begin with the maps of the first image, float of any precision."""
        import torch

        x_CP = x_CP.double()
        channels = x_CP.shape[0]
        self._offset = x_CP.mean(1)
        self._least, self._most = x_CP.amin(1), x_CP.amax(1)
        self._sum = torch.zeros_like(self._offset)
        self._zeros = torch.zeros(channels, dtype=torch.int64)
        self._products = x_CP.new_zeros(channels, channels)
        self._positions = 0
        self.add(x_CP)

    def add(self, x_CP: Tensor) -> None:
        """Take in the maps of one more image."""
        import torch

        x_CP = x_CP.double()
        self._positions += x_CP.shape[1]
        self._zeros += (x_CP == 0).sum(1)
        self._least = torch.minimum(self._least, x_CP.amin(1))
        self._most = torch.maximum(self._most, x_CP.amax(1))
        x_CP = x_CP - self._offset[:, None]
        self._sum += x_CP.sum(1)
        self._products.addmm_(x_CP, x_CP.t())

    def statistics(self) -> Statistics:
        """Return what the sums amount to."""
        count = self._positions
        mean = self._offset + self._sum / count
        covariance = self._products.addr(self._sum, self._sum, alpha=-1 / count)
        raw = covariance.addr(mean, mean, alpha=count)
        # the second where rounding has eaten a pattern up
        dead = (self._least == self._most) | (covariance.diagonal() <= 0)
        return Statistics(
            positions=count,
            mean=mean.numpy(),
            zeros_pct=(100 * self._zeros / count).double().numpy(),
            norm=raw.diagonal().clamp_min(0).sqrt().numpy(),
            dead=dead.numpy(),
            similarities={
                Measure.COSINE: _normalised(raw, dead),
                Measure.CORRELATION: _normalised(covariance, dead),
            },
        )


def _normalised(products_CC: Tensor, dead_C: Tensor) -> Matrix:
    """Divide products by the lengths of both sides."""
    import torch

    inverse = torch.where(dead_C, 0.0, products_CC.diagonal().rsqrt())
    similarity = (products_CC * inverse[:, None] * inverse).clamp_(-1, 1)
    similarity.diagonal().copy_(~dead_C)
    return similarity.float().numpy()


def redundancy(
    statistics: Statistics, *, measure: Measure = Measure.COSINE, pairs: int = 8
) -> Redundancy:
    """Say how much maps repeat each other.

    Args:
        statistics: Of the maps.
        measure: How maps are compared.
        pairs: So many of the most similar pairs are listed at most.
    """
    import numpy as np

    dead = statistics.dead
    size = np.abs(statistics.similarities[measure])
    size[:, dead] = -1
    np.fill_diagonal(size, -1)
    nearest = size.argmax(1)
    value = size.max(1)
    nearest[dead | (value < 0)] = -1
    living = int((~dead).sum())
    if living < 2:
        return Redundancy(living, None, None, nearest, ())
    value = value[~dead].astype(np.float64)
    return Redundancy(
        living=living,
        repeated_pct=float(100 * (value >= ALIKE).mean()),
        mean_nearest=float(value.mean()),
        nearest=nearest,
        pairs=_most_similar(statistics, measure, count=pairs),
    )


def _most_similar(statistics: Statistics, measure: Measure, *, count: int) -> tuple[Pair, ...]:
    """List pairs, the most similar one first; of equal ones that of the first channels."""
    import numpy as np

    alive = np.flatnonzero(~statistics.dead)
    first, second = (alive[side] for side in np.triu_indices(len(alive), 1))
    similarity = statistics.similarities[measure][first, second]
    best = np.argsort(-np.abs(similarity), kind="stable")[:count]
    return tuple(Pair(int(first[at]), int(second[at]), float(similarity[at])) for at in best)
