from __future__ import annotations

import pytest
import torch

from backbones.build import build
from jobs import recipes
from jobs.classify.optimiser import make_optimiser
from jobs.training.optimiser import set_learning_rate
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


@pytest.mark.parametrize(
    ("backbone", "decays", "rests"),
    [
        (
            "resnet18/kernel_warehouse(budget=0.5,far_ratio=0.0625)",
            ("warehouse.cells", "reduce.weight", "near.weight", "far.weight", "fc.weight"),
            ("logits.offset", "norm.weight", "fc.bias"),
        ),
        ("convnext_tiny/kernel_warehouse", ("warehouse.cells",), (".gamma", "conv_dw.bias")),
        ("resnet18/odconv(kernels=4)", (".weight", "spatial.weight"), ("spatial.bias",)),
        ("mobilenetv2_050/condconv(bias=experts)", ("logits.weight",), ("classifier.bias",)),
        ("resnet18/dyconv", ("conv1.weight",), ("logits.bias",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_matrices_of_the_methods_decay_and_their_biases_do_not(
    backbone: str, decays: tuple[str, ...], rests: tuple[str, ...]
) -> None:
    network = build(backbone, classes=10, image_size=32)
    groups = make_optimiser(network, recipes.get("kw_adv300")).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for endings, expected in ((decays, 0.05), (rests, 0.0)):
        for ending in endings:
            found = {
                decay[id(parameter)]
                for name, parameter in network.named_parameters()
                if name.endswith(ending) and (expected == 0.0 or parameter.ndim > 1)
            }
            assert found == {expected}, ending


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_optimiser_is_the_recipe_s(name: str, kind: type[torch.optim.Optimizer]) -> None:
    network = build(TINY, classes=10, image_size=16)
    optimiser = make_optimiser(network, recipes.get("digits_quick").derive(optimiser=name))
    assert type(optimiser) is kind
    set_learning_rate(optimiser, 0.25)
    assert {group["lr"] for group in optimiser.param_groups} == {0.25}
