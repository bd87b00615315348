"""How sure a score is: 95 % intervals, and the ranks that they allow. Pure, no numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean, stdev

_ROUNDING = 1e-9
"""Percentage points: scores that lie just a band apart are not parted by their last bits."""
_Z_975 = NormalDist().inv_cdf(0.975)
_T_975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""Student's t, 97.5 % quantile, for 1 to 10 degrees of freedom."""


@dataclass(frozen=True)
class Estimate:
    """A score with what several measurements, or the size of the validation set, say about it.

    Attributes:
        mean: Mean of the scores, percent.
        n: How many scores.
        std: Sample standard deviation, percentage points; None of a single score.
        low: Lower end of the 95 % interval, percent; None when nothing is known about it.
        high: Upper end.
        method: ``t`` (over seeds), ``binomial`` (one score, from the number of samples) or empty.
        band: Where there is no interval: by how much two single scores may differ and say nothing,
            percentage points.
    """

    mean: float
    n: int
    std: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    band: float = 0.0

    @property
    def half_width(self) -> float | None:
        """Half the length of the interval, percentage points."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def ends(self) -> tuple[float, float]:
        """What ranks go by: the interval, else half of the band to either side of the score."""
        if self.low is None or self.high is None:
            return self.mean - self.band / 2, self.mean + self.band / 2
        return self.low, self.high

    def agrees_with(self, value: float) -> bool | None:
        """Return whether another's single score is as good as this one; None: nothing is known."""
        if self.low is not None and self.high is not None:
            return self.low <= value <= self.high
        return abs(value - self.mean) <= self.band + _ROUNDING if self.band else None


def t_quantile(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution.

    Args:
        degrees: Degrees of freedom, at least 1.

    Returns:
        The quantile; above 10 degrees by the Cornish-Fisher expansion, whose error there is below
        2e-4.
    """
    if degrees <= len(_T_975):
        return _T_975[degrees - 1]
    z, v = _Z_975, float(degrees)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def wilson(share: float, *, samples: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, which stays honest close to 0 and 1.

    Args:
        share: Share of correct answers, 0 to 1.
        samples: Number of answers, at least 1.

    Returns:
        Lower and upper end, 0 to 1.
    """
    z2 = _Z_975**2
    centre = (share + z2 / (2 * samples)) / (1 + z2 / samples)
    spread = sqrt(share * (1 - share) / samples + z2 / (4 * samples**2))
    half = _Z_975 * spread / (1 + z2 / samples)
    return max(0.0, centre - half), min(1.0, centre + half)


def estimate(
    scores_pct: Sequence[float], *, samples: int | None = None, band: float = 0.0
) -> Estimate:
    """Summarise scores in percent.

    Args:
        scores_pct: One score a seed, at least one.
        samples: Size of the validation set, for the interval of a single score that is the share of
            it that was answered right; None when unknown, or when it is no such share.
        band: Difference of two single scores that says nothing, percentage points; 0: not known.

    Returns:
        With several scores their t-interval, which holds the spread over seeds; with one its
        binomial interval, which holds only that the validation set is finite; else the band.
    """
    mean, n = fmean(scores_pct), len(scores_pct)
    if n > 1:
        std = stdev(scores_pct)
        half = t_quantile(n - 1) * std / sqrt(n)
        return Estimate(mean, n, std, mean - half, mean + half, "t")
    if samples:
        low, high = wilson(min(max(mean / 100, 0.0), 1.0), samples=samples)
        return Estimate(mean, n, None, 100 * low, 100 * high, "binomial")
    return Estimate(mean, n, band=band)


def ranks(estimates: Sequence[Estimate], *, more_is_better: bool = True) -> list[int]:
    """Rank estimates, best first; what the intervals cannot tell apart is not put in order.

    Where a score has no interval, half of its band stands for it, so that two single scores share
    a rank as long as they differ by no more than the band.

    Args:
        estimates: Of one measure.
        more_is_better: Whether the highest is the best.

    Returns:
        For each estimate 1 + the number of those whose interval lies wholly beyond its own, on the
        better side. Whoever overlaps with the best has rank 1. (Overlap is not transitive, so "all
        that touch" would merge a long table into one rank.)
    """

    def beats(other: Estimate, one: Estimate) -> bool:
        above, below = (other, one) if more_is_better else (one, other)
        return above.ends[0] > below.ends[1] + _ROUNDING

    return [1 + sum(beats(other, one) for other in estimates) for one in estimates]
