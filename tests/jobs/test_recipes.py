from __future__ import annotations

import pytest
from pydantic import ValidationError

from jobs import recipes
from jobs.errors import SpecError
from jobs.recipes import DetectionRecipe, TrainingRecipe

PAPERS = {
    "antnet_400",
    "cbam_100",
    "cgc_100",
    "cifar_200",
    "cifar_quick",
    "cifar_step_200",
    "cifar_step_200_vgg",
    "cond_mobile",
    "dcd_mbv2",
    "dcd_r50",
    "dicenet_120",
    "dicenet_120_light",
    "digits_quick",
    "dy_cifar_160",
    "dy_mbv2",
    "eca_100",
    "eca_mbv2_400",
    "kw_adv300",
    "kw_adv300_drop_path",
    "kw_adv300_ema",
    "kw_adv300_ema_drop_path",
    "kw_adv300_unmixed",
    "kw_mbv2_150",
    "kw_mbv2_150_smoothed",
    "od_mbv2_150",
    "od_mbv2_150_dropout",
    "od_resnet_100",
    "od_resnet_100_dropout",
    "spconv_90",
    "trad100",
    "weightnet_300k",
}

HASHES = {
    "cifar_200": "11037dad3b453ca8",
    "cifar_quick": "bad0091d0a33c5aa",
    "dicenet_120": "4a7b291a5455c9e7",
    "dicenet_120_light": "1190a076eaecce6b",
    "digits_quick": "dff0b302991d2132",
    "eca_100": "81af08d5effe3ba6",
    "kw_adv300": "af6dc0b1c94174db",
    "kw_adv300_ema": "490fd597807acfd9",
    "kw_mbv2_150": "ca60cc66e7be4a59",
    "od_mbv2_150": "1c946fee322a0978",
    "od_resnet_100": "861c66d5ca6641a6",
    "spconv_90": "a8c19da4451a4608",
}
"""Results of earlier runs carry these; whoever changes one cuts them off."""


def test_every_recipe_of_the_papers_is_listed() -> None:
    assert set(recipes.names()) >= PAPERS


@pytest.mark.parametrize("name", recipes.names(TrainingRecipe))
def test_a_recipe_is_called_like_its_function_and_says_what_it_is(name: str) -> None:
    assert recipes.get(name, TrainingRecipe).name == name
    assert recipes.summary(name).endswith(".")


@pytest.mark.parametrize("name", recipes.names(TrainingRecipe))
def test_a_recipe_survives_json(name: str) -> None:
    recipe = recipes.get(name, TrainingRecipe)
    assert type(recipe).model_validate_json(recipe.model_dump_json()) == recipe


def test_a_recipe_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"recipe 'coco_1x' is one to detect, not to classify"):
        recipes.get("coco_1x")
    with pytest.raises(
        SpecError, match=r"'kw_adv300' is one to classify, not to detect; .*coco_1x"
    ):
        recipes.get("kw_adv300", DetectionRecipe)


def test_the_learning_rate_of_detection_follows_the_batch_size() -> None:
    recipe = recipes.get("coco_1x", DetectionRecipe)
    assert recipe.peak_lr == 0.02
    assert recipe.derive(batch_size=2).peak_lr == pytest.approx(0.0025)
    assert recipe.derive(batch_size=2).first_lr == pytest.approx(2.5e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"short_sides": [800, 640]}, "short_sides must grow"),
        ({"short_sides": [16]}, "32 px or more"),
        ({"long_side": 700}, "long_side 700 is less than a shorter side of 800"),
        ({"regions": 2000}, "regions 2000 are more than the proposals 1000"),
        ({"warmup_epochs": 1}, "by warmup_steps and warmup_ratio"),
    ],
)
def test_values_of_detection_that_do_not_fit_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        recipes.get("coco_1x", DetectionRecipe).derive(**changes)


def test_an_unknown_recipe_is_refused_with_near_names() -> None:
    with pytest.raises(SpecError, match=r"unknown recipe 'digit_quick'; did you mean digits_quick"):
        recipes.get("digit_quick")


def test_a_name_like_none_is_answered_with_all_of_them() -> None:
    with pytest.raises(SpecError, match=rf"known: {', '.join(recipes.names())}$"):
        recipes.get("zzzz")


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


@pytest.mark.parametrize("name", HASHES)
def test_the_hash_of_a_recipe_outlives_new_fields(name: str) -> None:
    assert recipes.get(name).digest() == HASHES[name]


def test_a_field_from_later_is_stored_and_hashed_once_it_is_used() -> None:
    plain = recipes.get("dcd_mbv2")
    ramped = plain.derive(mixup_ramp_epochs=100)
    assert "mixup_ramp_epochs" not in plain.model_dump()
    assert ramped.model_dump()["mixup_ramp_epochs"] == 100
    assert ramped.digest() != plain.digest()
    assert type(ramped).model_validate_json(ramped.model_dump_json()) == ramped


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixup_ramp_epochs": 5}, "needs a mixup above 0"),
        ({"drop_path_course": "constant"}, "needs a drop_path above 0"),
        ({"cycles": 12}, "need schedule 'cycles'"),
        ({"schedule": "cycles", "warmup_epochs": 0, "cycles": 2}, "e.g. 12 and 5"),
        (
            {"schedule": "cycles", "warmup_epochs": 0, "cycles": 40, "cycle_epochs": 5},
            "leave nothing of epochs 200",
        ),
        ({"schedule": "cycles", "warmup_epochs": 1, "cycles": 2, "cycle_epochs": 5}, "no warm-up"),
    ],
)
def test_a_course_of_what_is_switched_off_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        recipes.get("cifar_200").derive(**changes)


@pytest.mark.parametrize(
    ("name", "base", "changed"),
    [
        ("kw_adv300_drop_path", "kw_adv300", {"drop_path": 0.1, "drop_path_course": "constant"}),
        ("kw_adv300_unmixed", "kw_adv300", {"mixup": 0.0, "cutmix": 0.0}),
        ("kw_adv300_ema", "kw_adv300", {"ema": 0.9999, "drop_path": 0.1}),
        ("kw_adv300_ema_drop_path", "kw_adv300_ema", {"drop_path": 0.3}),
        ("kw_mbv2_150_smoothed", "kw_mbv2_150", {"label_smoothing": 0.1}),
        ("od_resnet_100_dropout", "od_resnet_100", {"dropout": 0.2}),
        ("od_mbv2_150_dropout", "od_mbv2_150", {"dropout": 0.2}),
        (
            "cifar_step_200",
            "cifar_200",
            {"schedule": "step", "step_epochs": (100, 150), "weight_decay": 1e-4},
        ),
        ("cifar_step_200_vgg", "cifar_step_200", {"weight_decay": 5e-4}),
        ("trad100", "od_resnet_100", {}),
        ("cbam_100", "eca_100", {}),
        (
            "eca_mbv2_400",
            "eca_100",
            {
                "epochs": 400,
                "batch_size": 96,
                "micro_batch": 96,
                "lr": 0.045,
                "weight_decay": 4e-5,
                "step_epochs": tuple(range(1, 400)),
                "gamma": 0.98,
                "dropout": 0.25,
            },
        ),
        ("cgc_100", "od_resnet_100", {}),
        ("dicenet_120_light", "dicenet_120", {"scale": (0.2, 1.0)}),
        ("dy_mbv2", "od_mbv2_150", {}),
        ("cond_mobile", "od_mbv2_150", {}),
    ],
)
def test_a_variant_differs_from_its_base_in_what_its_release_changes(
    name: str, base: str, changed: dict[str, object]
) -> None:
    here, there = (set(recipes.get(one).model_dump().items()) for one in (name, base))
    assert dict(here - there) == {"name": name, **changed}


def test_weightnet_trains_for_its_300_000_steps_but_for_a_part_of_an_epoch() -> None:
    recipe = recipes.get("weightnet_300k")
    steps_per_epoch = 1_281_167 // recipe.batch_size
    assert abs(recipe.epochs * steps_per_epoch - 300_000) < steps_per_epoch
    assert recipe.lr / (recipe.batch_size / 128) == 0.0625
    assert not recipe.decay_norm_and_bias


def test_all_parameters_decay_in_the_recipes_of_odconv_and_dcd() -> None:
    names = ("od_resnet_100", "od_mbv2_150", "trad100", "dcd_r50", "dcd_mbv2")
    assert all(recipes.get(name).decay_norm_and_bias for name in names)
    assert not any(recipes.get(name).nesterov for name in names)
