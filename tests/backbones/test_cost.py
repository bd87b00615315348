"""Parameters and multiply-adds equal those of the literature, to the unit."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from backbones.cost import cost, count

# network: parameters, multiply-adds at 224 (conv + linear + matrix products)
PLAIN = {
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet50": (25_557_032, 4_089_184_256),
    "mobilenetv2_100": (3_504_872, 300_774_272),
    "mobilenetv2_050": (1_968_680, None),
    "convnext_tiny": (28_589_128, None),
}
MADDS_M = {"mobilenetv2_050": 97.13, "convnext_tiny": 4455.53}


@pytest.mark.parametrize("network", PLAIN)
def test_plain_networks_cost_what_papers_count(network: str) -> None:
    params, madds = PLAIN[network]
    counted = cost(f"{network}/conv")
    assert counted.params == params
    assert counted.madds_assembly == 0
    if madds is not None:
        assert counted.madds == madds
    else:
        assert round(counted.madds / 1e6, 2) == MADDS_M[network]


def test_layers_add_up_to_the_whole() -> None:
    counted = cost("resnet18/se")
    assert sum(layer.madds for layer in counted.layers.values()) == counted.madds
    assert sum(layer.params for layer in counted.layers.values()) == counted.params


@pytest.mark.parametrize(
    ("module", "shape", "madds"),
    [
        (nn.Conv2d(6, 8, 3, padding=1, groups=2), (6, 5), 5 * 5 * 8 * 3 * 9),
        (nn.Conv2d(6, 8, (1, 3), stride=2, bias=False), (6, 9), 5 * 4 * 8 * 6 * 3),
    ],
)
def test_a_convolution_counts_its_products_once(
    module: nn.Module, shape: tuple[int, int], madds: int
) -> None:
    channels, size = shape
    assert count(module.to("meta"), image_size=size, channels=channels).madds == madds


def test_products_inside_an_assembly_are_shown_apart() -> None:
    class Assembly(nn.Module):
        cost_kind = "assembly"

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a @ b

    class Dynamic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.Parameter(torch.empty(4, 7))
            self.assemble = Assembly()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mixtures: torch.Tensor = x.mean((2, 3)).expand(3, 3) @ x.new_empty(3, 4)
            out: torch.Tensor = self.assemble(mixtures, self.cells)
            return out + 0

    counted = count(Dynamic().to("meta"), image_size=8)
    assert counted.madds_assembly == 3 * 4 * 7
    assert counted.madds == 3 * 3 * 4 + 3 * 4 * 7


def test_a_shared_parameter_counts_once() -> None:
    shared = nn.Linear(3, 3, bias=False)
    counted = count(
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), shared, shared).to("meta"),
        image_size=4,
    )
    assert counted.params == 9
    assert counted.madds == 18


def test_products_with_weights_that_are_zero_by_construction_do_not_count() -> None:
    with torch.device("meta"):
        thinned, dense = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 1)
    vars(thinned)["cost_share"] = Fraction(3, 4)
    counted = count(nn.Sequential(thinned, dense), image_size=5, channels=4)
    assert [layer.madds for layer in counted.layers.values()] == [25 * 24, 25 * 64]
