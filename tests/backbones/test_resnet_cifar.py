from __future__ import annotations

import pytest
import torch

from backbones.build import build
from backbones.cost import cost
from backbones.describe import describe


@pytest.mark.parametrize(
    ("depth", "params", "madds"),
    [
        (20, 272_474, 40_813_184),
        (32, 466_906, 69_124_736),
        (44, 661_338, 97_436_288),
        (56, 855_770, 125_747_840),
        (110, 1_730_714, 253_149_824),
    ],
)
def test_it_has_the_parameters_and_multiply_adds_that_tables_print(
    depth: int, params: int, madds: int
) -> None:
    counted = cost(f"resnet{depth}_cifar/conv", classes=10, image_size=32)
    assert (counted.params, counted.madds) == (params, madds)


def test_another_block_in_each_stage_costs_its_convolutions_and_norms() -> None:
    few, more = (cost(f"resnet{depth}_cifar/conv", classes=10) for depth in (20, 32))
    widths = (16, 32, 64)
    assert more.params - few.params == 2 * sum(2 * (9 * w * w + 2 * w) for w in widths)


def test_it_is_described_at_the_size_of_cifar() -> None:
    assert describe("resnet56_cifar/conv").image_size == 32


def test_the_names_of_weights_are_those_of_timms_resnets() -> None:
    names = build("resnet20_cifar/conv", classes=10, device="meta").state_dict()
    assert {"conv1.weight", "layer2.0.downsample.0.weight", "layer3.2.bn2.bias", "fc.bias"} <= set(
        names
    )
    assert sum(name.endswith(("conv1.weight", "conv2.weight")) for name in names) == 19


def test_it_trains_on_one_image() -> None:
    network = build("resnet20_cifar/conv", classes=10).train()
    assert network(torch.randn(1, 3, 32, 32)).shape == (1, 10)
