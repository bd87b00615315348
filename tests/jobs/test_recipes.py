from __future__ import annotations

import pytest
from pydantic import ValidationError

from jobs import recipes
from jobs.errors import SpecError
from jobs.recipes import Recipe

PAPERS = {
    "cifar_200",
    "cifar_quick",
    "digits_quick",
    "eca_100",
    "kw_adv300",
    "kw_adv300_ema",
    "kw_mbv2_150",
    "od_mbv2_150",
    "od_resnet_100",
    "spconv_90",
}


def test_every_recipe_of_the_papers_is_listed() -> None:
    assert set(recipes.names()) >= PAPERS


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_is_called_like_its_function_and_says_what_it_is(name: str) -> None:
    assert recipes.get(name).name == name
    assert recipes.summary(name).endswith(".")


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_survives_json(name: str) -> None:
    recipe = recipes.get(name)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_an_unknown_recipe_is_refused_with_near_names() -> None:
    with pytest.raises(SpecError, match=r"unknown recipe 'digit_quick'; did you mean digits_quick"):
        recipes.get("digit_quick")


def test_the_hash_of_a_recipe_leaves_its_name_out() -> None:
    recipe = recipes.get("cifar_200")
    assert recipe.derive(name="mine").digest() == recipe.digest()
    assert recipe.derive(epochs=199).digest() != recipe.digest()


def test_a_derived_recipe_is_checked_again() -> None:
    with pytest.raises(ValidationError, match="micro_batch 128 does not divide batch_size 100"):
        recipes.get("cifar_200").derive(batch_size=100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "step"}, "needs step_epochs"),
        ({"schedule": "step", "step_epochs": (5, 3)}, "must grow"),
        ({"warmup_epochs": 200}, "leaves nothing of epochs 200; warm up for less"),
        ({"mixup": 0.2, "micro_batch": 1}, "must be even"),
        ({"scale": (0.5, 1.5)}, r"within \(0, 1\]"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"lr": float("nan")}, "finite"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        recipes.get("cifar_200").derive(**changes)


def test_workers_share_a_batch_only_evenly() -> None:
    recipe = recipes.get("cifar_200").derive(batch_size=96, micro_batch=16)
    assert [recipe.accumulation(n) for n in (1, 2, 3, 6)] == [6, 3, 2, 1]
    with pytest.raises(SpecError, match=r"4 workers cannot share .*; 1, 2, 3, 6 workers can"):
        recipe.accumulation(4)


def test_the_recipe_of_kernel_warehouse_has_the_released_values() -> None:
    recipe = recipes.get("kw_adv300")
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.weight_decay) == (
        300,
        4096,
        4e-3,
        0.05,
    )
    assert (recipe.mixup, recipe.cutmix, recipe.label_smoothing) == (0.8, 1.0, 0.1)
    assert not recipe.decay_norm_and_bias
    assert recipes.get("kw_adv300_ema").ema == 0.9999
