"""A router around a block hands its words to the layers inside, and leaves nothing behind."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.errors import UnsupportedNetworkError
from backbones.routed_block import RoutedBlock


class Scale(nn.Module):
    """A layer that takes what a router says."""

    def forward(self, x: Tensor, routing: Tensor) -> Tensor:
        return x * routing[:, None]


class Branches(nn.Module):
    """Routed layers at two depths, beside one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.Linear(3, 3), nn.Sequential(Scale(), nn.ReLU()))
        self.flat = Scale()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor, factor: float = 2.0) -> Tensor:
        y: Tensor = self.dropout(self.deep(x)) + factor * self.flat(x)
        return y


class Sum(nn.Module):
    """A router."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1)


def routed(block: nn.Module) -> RoutedBlock:
    around = RoutedBlock(Sum(), [m for m in block.modules() if isinstance(m, Scale)])
    around.wrap(block)
    return around


def wanted(block: Branches, x: Tensor) -> Tensor:
    scale = x.sum(1)[:, None]
    deep: Tensor = block.deep[0](x)
    return (deep * scale).relu() + 2 * x * scale


def test_every_routed_layer_gets_the_word_at_any_depth() -> None:
    block = Branches().eval()
    x = torch.randn(4, 3)
    assert torch.equal(routed(block)(x), wanted(block, x))


def test_what_only_training_does_in_a_layer_stays() -> None:
    around = routed(Branches())
    x = torch.randn(4, 3)
    assert not torch.equal(around(x), around(x)), "dropout draws anew"
    assert torch.equal(around.eval()(x), around(x))


def test_copies_and_pickles_stand_alone() -> None:
    block = Branches().eval()
    around = routed(block).eval()
    x = torch.randn(4, 3)
    before = around(x)
    for other in (copy.deepcopy(around), pickle.loads(pickle.dumps(around))):
        assert torch.equal(other(x), before)
        nn.init.zeros_(other.get_parameter("block.deep.0.weight"))
        assert not torch.equal(other(x), before)
        assert torch.equal(around(x), before)


def test_names_within_the_block_stay() -> None:
    around = routed(Branches())
    assert set(around.state_dict()) == {"block.deep.0.weight", "block.deep.0.bias"}


class Decides(nn.Module):
    """Has functional dropout in its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = Scale()

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(self.scale(x), 0.5, self.training)


class Looks(Decides):
    """Asks the numbers what to do."""

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("kind", "message"),
    [(Decides, "what only training does"), (Looks, "cannot be followed")],
)
def test_a_block_that_cannot_be_followed_is_refused(kind: type[nn.Module], message: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match=f"{message}.*choose another network"):
        routed(kind())
