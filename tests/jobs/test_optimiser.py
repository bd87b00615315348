from __future__ import annotations

import pytest
import torch

from backbones.build import build
from jobs import recipes
from jobs.classify.optimiser import make_optimiser, set_learning_rate
from tests.jobs.conftest import TINY


def test_norms_and_biases_do_not_decay_unless_the_recipe_says_so() -> None:
    network = build(TINY, classes=10, image_size=16)
    recipe = recipes.get("digits_quick").derive(weight_decay=0.1)
    groups = make_optimiser(network, recipe).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        flat = parameter.ndim <= 1 or name.endswith(".bias")
        assert decays[id(parameter)] == (0.0 if flat else 0.1), name
    (group,) = make_optimiser(network, recipe.derive(decay_norm_and_bias=True)).param_groups
    assert group["weight_decay"] == 0.1
    assert len(group["params"]) == len(list(network.parameters()))


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_optimiser_is_the_recipe_s(name: str, kind: type[torch.optim.Optimizer]) -> None:
    network = build(TINY, classes=10, image_size=16)
    optimiser = make_optimiser(network, recipes.get("digits_quick").derive(optimiser=name))
    assert type(optimiser) is kind
    set_learning_rate(optimiser, 0.25)
    assert {group["lr"] for group in optimiser.param_groups} == {0.25}
