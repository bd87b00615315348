"""Methods are put in place by one function, all or none, the same for the same seed."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from backbones import method as registry
from backbones.build import anneal, build
from backbones.errors import (
    SettingError,
    UnknownMethodError,
    UnknownNetworkError,
    UnsupportedNetworkError,
)
from backbones.resolve import resolve
from backbones.squeeze_excitation import SqueezeExcitation

SMALL = "resnet18(stem=small)"


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = build(f"{SMALL}/se", classes=10, image_size=32, seed=3)
    assert torch.equal(torch.rand(3), expected)
    two = build(f"{SMALL}/se", classes=10, image_size=32, seed=3)
    other = build(f"{SMALL}/se", classes=10, image_size=32, seed=4)
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )
    assert not torch.equal(one.state_dict()["fc.weight"], other.state_dict()["fc.weight"])


def test_a_gate_follows_whatever_stands_where_the_norm_was() -> None:
    network = build("mobilenetv2_050/ghost+se", classes=10, image_size=32, device="meta")
    place = network.get_submodule("blocks.1.0.bn3")
    assert isinstance(place, nn.Sequential)
    assert isinstance(place[0], nn.Identity), "ghost brings its own norm"
    assert isinstance(place[1], SqueezeExcitation)


def test_a_replacement_can_go_around_a_block_whose_inside_is_filled_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Around(nn.Module):
        block: nn.Module

        def wrap(self, module: nn.Module) -> None:
            self.block = module

        def forward(self, x: Tensor) -> Tensor:
            return -cast("Tensor", self.block(x))

    real = registry.load_plan
    monkeypatch.setattr(
        registry,
        "load_plan",
        lambda name: (lambda *_: {"layer4.1": Around()}) if name == "se" else real(name),
    )
    network = build(f"{SMALL}/se+eca", classes=10, image_size=32)
    around = network.get_submodule("layer4.1")
    assert isinstance(around, Around)
    assert type(around.block.se).__module__.startswith("backbones.methods.eca")
    x = torch.randn(1, 256, 8, 8)
    inside = network.get_submodule("layer4.0").eval()(x)
    assert torch.equal(around.eval()(inside), -around.block(inside))


def test_two_methods_that_want_one_convolution_are_refused() -> None:
    with pytest.raises(UnsupportedNetworkError, match=r"both replace layer1\.0\.conv1"):
        build(f"{SMALL}/ghost+kernel_warehouse", classes=10, image_size=32, device="meta")


def test_a_method_that_finds_nothing_is_refused_with_what_it_needs() -> None:
    with pytest.raises(UnsupportedNetworkError, match="needs residual blocks"):
        build("deit_tiny_patch16_224/eca", device="meta")


def test_plain_beside_another_method_says_nothing() -> None:
    assert str(resolve("resnet18/conv+eca")) == "resnet18/eca"


def test_names_as_papers_write_them_lead_to_ours() -> None:
    with pytest.raises(UnknownMethodError, match=r"did you mean odconv"):
        resolve("resnet18/ODConv")
    with pytest.raises(UnknownNetworkError, match=r"did you mean resnet18"):
        resolve("RESNET18/conv")


def test_a_setting_that_is_none_by_default_can_be_written_so() -> None:
    assert resolve("resnet18/dyconv(temperature=none)") == resolve("resnet18/dyconv")
    assert str(resolve("resnet18/kernel_warehouse(startup=none,reduction=none)")) == (
        "resnet18/kernel_warehouse(startup=none)"
    )
    with pytest.raises(SettingError, match="valid number"):
        resolve("resnet18/kernel_warehouse(budget=none)")


def test_unknown_names_and_settings_name_their_neighbours() -> None:
    with pytest.raises(UnknownMethodError, match="did you mean eca"):
        resolve("resnet18/eac")
    with pytest.raises(SettingError, match="no setting 'reducton'; did you mean reduction"):
        resolve("resnet18/se(reducton=4)")
    with pytest.raises(SettingError, match="greater than"):
        resolve("resnet18/se(reduction=0)")


def test_hash_and_text_depend_on_what_is_resolved_not_on_what_was_typed() -> None:
    typed = resolve(" resnet18 ( stem = standard ) / se ( reduction=16 ) ")
    assert str(typed) == "resnet18/se"
    assert typed.digest == resolve("resnet18/se").digest
    assert typed.digest != resolve("resnet18/se(reduction=8)").digest


def test_anneal_reaches_every_module_that_has_a_schedule() -> None:
    class Warm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: tuple[int, int] | None = None

        def anneal(self, *, step: int, steps_per_epoch: int) -> None:
            self.seen = (step, steps_per_epoch)

    inner, outer = Warm(), Warm()
    anneal(nn.Sequential(nn.Sequential(inner), outer), step=7, steps_per_epoch=100)
    assert inner.seen == outer.seen == (7, 100)
