from __future__ import annotations

import pytest
import torch

from jobs import recipes
from jobs.classify.mixing import make_mixing, mixup_alpha
from jobs.data.draws import drawing
from jobs.recipes import Recipe

RAMPED = recipes.get("dcd_r50")


def mixed(recipe: Recipe, *, epoch: float) -> tuple[torch.Tensor, torch.Tensor]:
    mixing = make_mixing(recipe, classes=4)
    assert mixing is not None
    with drawing(1):
        return mixing(torch.eye(4).reshape(4, 1, 2, 2), torch.arange(4), epoch=epoch)


def test_alpha_of_mixup_rises_with_each_step_and_then_stays() -> None:
    alphas = [mixup_alpha(RAMPED, epoch=epoch) for epoch in (0, 0.5, 50, 100, 119.9)]
    assert alphas == pytest.approx([0.0, 0.001, 0.1, 0.2, 0.2])
    assert mixup_alpha(recipes.get("dcd_mbv2"), epoch=0) == 0.2


def test_nothing_is_mixed_where_the_ramp_begins() -> None:
    images, targets = mixed(RAMPED, epoch=0)
    assert torch.equal(images, torch.eye(4).reshape(4, 1, 2, 2))
    assert torch.equal(targets, torch.eye(4))


def test_images_and_labels_are_mixed_alike() -> None:
    images, targets = mixed(RAMPED.derive(mixup=50.0), epoch=100)
    assert torch.allclose(images.reshape(4, 4), targets)
    assert 0.2 < targets[0, 0] < 0.8
    assert torch.allclose(targets.sum(1), torch.ones(4))


def test_a_recipe_without_mixing_has_none() -> None:
    assert make_mixing(recipes.get("digits_quick"), classes=4) is None
