"""Similarities and what is said of them, against loops in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones.redundancy import ALIKE, Measure, Moments, Redundancy, Statistics, redundancy

BOTH = pytest.mark.parametrize("measure", Measure)


def gather(*images_CP: Tensor) -> Statistics:
    moments = Moments(images_CP[0])
    for image in images_CP[1:]:
        moments.add(image)
    return moments.statistics()


def by_hand(first: list[float], second: list[float], measure: Measure) -> float:
    """The similarity of two maps, number by number."""
    if measure is Measure.CORRELATION:
        first, second = (
            [value - math.fsum(one) / len(one) for value in one] for one in (first, second)
        )
    product = math.fsum(a * b for a, b in zip(first, second, strict=True))
    lengths = [math.sqrt(math.fsum(a * a for a in one)) for one in (first, second)]
    return product / (lengths[0] * lengths[1])


def maps(channels: int, positions: int, *, seed: int = 0) -> Tensor:
    return torch.randn(channels, positions, generator=torch.Generator().manual_seed(seed))


@BOTH
@pytest.mark.parametrize("images", [1, 3])
def test_similarities_are_those_of_vectors_over_all_positions_of_all_images(
    measure: Measure, images: int
) -> None:
    shown = [maps(5, 12, seed=seed) + seed for seed in range(images)]
    found = gather(*shown).similarities[measure]
    whole = torch.cat(shown, dim=1).tolist()
    for i in range(5):
        for j in range(5):
            assert found[i, j] == pytest.approx(by_hand(whole[i], whole[j], measure), abs=1e-6)
    assert found.dtype == np.float32
    assert (found == found.T).all()
    assert (found.diagonal() == 1).all()


def test_channels_are_described_over_all_images() -> None:
    shown = [maps(4, 10, seed=seed).relu() for seed in range(3)]
    found = gather(*shown)
    whole = torch.cat(shown, dim=1).double()
    assert found.positions == 30
    assert np.allclose(found.mean, whole.mean(1))
    assert np.allclose(found.norm, [math.sqrt(sum(v * v for v in row)) for row in whole.tolist()])
    assert np.allclose(found.zeros_pct, [100 * row.count(0.0) / 30 for row in whole.tolist()])
    assert not found.dead.any()


@BOTH
def test_a_small_pattern_on_a_large_offset_keeps_its_digits(measure: Measure) -> None:
    pattern = (maps(2, 64) * 64).round() / 64  # exact beside 4096 in float32
    found = gather(pattern + 4096).similarities[measure]
    first, second = (pattern + 4096).tolist()
    wanted = by_hand(first, second, measure)
    assert found[0, 1] == pytest.approx(wanted, abs=1e-6)
    if measure is Measure.CORRELATION:
        first, second = pattern.tolist()
        assert found[0, 1] == pytest.approx(by_hand(first, second, measure), abs=1e-6)
        assert abs(found[0, 1]) < 0.5


@BOTH
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_similarity_does_not_depend_on_the_scale(measure: Measure, scale: float) -> None:
    plain, scaled = (gather(maps(3, 20) * by).similarities[measure] for by in (1.0, scale))
    assert np.allclose(plain, scaled, atol=1e-6)


@BOTH
def test_dead_maps_take_no_part(measure: Measure) -> None:
    x = maps(6, 20)
    x[1], x[4] = 0.0, 0.1
    x[5] = -2 * x[3]
    found = gather(x)
    assert found.dead.tolist() == [False, True, False, False, True, False]
    similarity = found.similarities[measure]
    assert np.isfinite(similarity).all()
    assert not similarity[[1, 4]].any()
    assert not similarity[:, [1, 4]].any()
    said = redundancy(found, measure=measure)
    assert said.living == 4
    assert said.nearest[[1, 4]].tolist() == [-1, -1]
    assert (said.nearest[3], said.nearest[5]) == (5, 3)
    assert said.repeated_pct == 50.0
    assert (said.pairs[0].first, said.pairs[0].second) == (3, 5)
    assert said.pairs[0].similarity == pytest.approx(-1)
    assert len(said.pairs) == 4 * 3 // 2
    assert not {1, 4} & {channel for pair in said.pairs for channel in (pair.first, pair.second)}


def test_a_map_that_varies_between_images_alone_is_alive() -> None:
    found = gather(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.tensor([[2.0, 2.0], [1.0, 0.0]]))
    assert found.dead.tolist() == [False, False]
    assert found.similarities[Measure.CORRELATION][0, 1] == pytest.approx(0)


@pytest.mark.parametrize(
    "x",
    [torch.zeros(3, 9), torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0, 2.0], [3.0, 3.0]])],
    ids=["all dead", "one position", "one alive"],
)
def test_with_fewer_than_two_living_maps_there_is_no_figure(x: Tensor) -> None:
    said = redundancy(gather(x))
    assert (said.repeated_pct, said.mean_nearest, said.pairs) == (None, None, ())
    assert (said.nearest == -1).all()


def redundancy_by_hand(found: Statistics, measure: Measure) -> tuple[float, float, list[int]]:
    """Share of repetitions, mean nearest and who is nearest, pair by pair."""
    alive = [channel for channel, dead in enumerate(found.dead) if not dead]
    nearest = [-1] * len(found.dead)
    sizes = []
    for i in alive:
        others = {j: abs(float(found.similarities[measure][i, j])) for j in alive if j != i}
        nearest[i] = max(others, key=others.__getitem__)
        sizes.append(others[nearest[i]])
    repeated = sum(size >= ALIKE for size in sizes)
    return 100 * repeated / len(alive), math.fsum(sizes) / len(alive), nearest


@BOTH
def test_redundancy_is_what_its_definition_says(measure: Measure) -> None:
    x = maps(12, 7)
    x[2:5] = x[:3] * torch.tensor([[2.0], [-0.5], [1.0]]) + 0.2 * maps(3, 7, seed=1)
    x[7] = 0
    found = gather(x)
    said = redundancy(found, measure=measure)
    share, mean, nearest = redundancy_by_hand(found, measure)
    assert 0 < share < 100
    assert said.repeated_pct == pytest.approx(share)
    assert said.mean_nearest == pytest.approx(mean)
    assert said.nearest.tolist() == nearest


def test_pairs_go_from_most_to_least_alike_and_ties_by_channel() -> None:
    one = maps(1, 16)
    x = torch.cat([one, maps(2, 16, seed=1), -one, one])
    said: Redundancy = redundancy(gather(x), pairs=4)
    assert [(pair.first, pair.second) for pair in said.pairs[:3]] == [(0, 3), (0, 4), (3, 4)]
    sizes = [abs(pair.similarity) for pair in said.pairs]
    assert len(sizes) == 4
    assert sizes == sorted(sizes, reverse=True)
