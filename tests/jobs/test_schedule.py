from __future__ import annotations

import pytest

from jobs import recipes
from jobs.recipes import Recipe
from jobs.training.schedule import learning_rate


def rates(recipe: Recipe, *steps: int) -> list[float]:
    return [learning_rate(recipe, step=step, steps_per_epoch=10) for step in steps]


def test_cosine_rises_from_the_warm_up_rate_and_falls_to_the_last_one() -> None:
    recipe = recipes.get("kw_adv300")  # 20 epochs of warm-up, 300 in all, 1e-6 at the end
    assert rates(recipe, 0, 100, 200) == pytest.approx([0, 2e-3, 4e-3])
    assert rates(recipe, 1600) == pytest.approx([(4e-3 + 1e-6) / 2])
    assert rates(recipe, 2999)[0] == pytest.approx(1e-6, rel=0.01)


def test_steps_multiply_at_their_epochs() -> None:
    recipe = recipes.get("od_resnet_100")
    assert rates(recipe, 0, 299, 300, 600, 999) == pytest.approx([0.1, 0.1, 0.01, 1e-3, 1e-4])


def test_linear_falls_evenly() -> None:
    recipe = recipes.get("cifar_200").derive(schedule="linear", epochs=10, min_lr=0.02)
    assert rates(recipe, 0, 50, 99) == pytest.approx([0.1, 0.06, 0.0208])


def test_cycles_are_saw_teeth_after_one_low_epoch_and_end_in_an_even_fall() -> None:
    recipe = recipes.get("dicenet_120")
    of_epoch = rates(recipe, *range(0, 1200, 10))
    assert of_epoch[:7] == pytest.approx([0.1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.5])
    assert of_epoch[1:61] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1] * 12)
    assert of_epoch[61:] == pytest.approx([0.1 - 0.1 * passed / 60 for passed in range(1, 60)])
    assert rates(recipe, 10, 19) == pytest.approx([0.5, 0.5]), "a rate holds for a whole epoch"
