from __future__ import annotations

import pytest

from convoy.leaderboard.intervals import Estimate, estimate, ranks, t_quantile, wilson


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(1, 12.7062), (4, 2.7764), (10, 2.2281), (11, 2.2010), (30, 2.0423), (100, 1.9840)],
)
def test_quantiles_are_those_of_the_tables(degrees: int, expected: float) -> None:
    assert t_quantile(degrees) == pytest.approx(expected, abs=2e-4)


def test_wilsons_interval_is_that_of_the_textbook() -> None:
    # Brown, Cai and DasGupta's form for 8 of 10: 0.4902 to 0.9433
    assert wilson(0.8, samples=10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_an_interval_stays_within_what_is_possible() -> None:
    assert wilson(1.0, samples=359)[1] == 1.0
    assert wilson(0.0, samples=359)[0] == 0.0


def test_several_seeds_have_a_t_interval() -> None:
    found = estimate([90.0, 92.0, 94.0], samples=359)
    assert (found.mean, found.n, found.std, found.method) == (92.0, 3, 2.0, "t")
    assert found.half_width == pytest.approx(4.3027 * 2 / 3**0.5, abs=1e-3)


def test_one_seed_has_the_binomial_interval_of_the_validation_set() -> None:
    found = estimate([90.0], samples=1000)
    assert found.method == "binomial"
    assert found.std is None
    assert (found.low, found.high) == pytest.approx((87.99, 91.71), abs=0.01)


def test_nothing_is_claimed_where_nothing_is_known() -> None:
    found = estimate([90.0], samples=None)
    assert (found.low, found.high, found.half_width, found.method) == (None, None, None, "")


def test_what_intervals_cannot_tell_apart_shares_a_rank() -> None:
    best = Estimate(93.0, 3, 0.5, 92.0, 94.0, "t")
    close = Estimate(92.0, 3, 0.5, 91.0, 93.0, "t")
    behind = Estimate(90.0, 3, 0.5, 89.0, 91.5, "t")
    assert ranks([behind, best, close]) == [2, 1, 1]


def test_without_intervals_only_equal_scores_share_a_rank() -> None:
    assert ranks([Estimate(90.0, 1), Estimate(91.0, 1), Estimate(90.0, 1)]) == [2, 1, 2]
