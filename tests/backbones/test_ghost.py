from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from timm.models.ghostnet import GhostModule
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError, UnsupportedNetworkError
from backbones.methods.ghost import Settings
from backbones.methods.ghost.operator import Ghost
from backbones.resolve import resolve
from backbones.sites import Role, Site, Slot
from tests.backbones import reference_ghost
from tests.backbones.closeness import assert_equals_reference

ACTIVATIONS = {
    "": lambda x: x,
    "relu": lambda x: torch.where(x > 0, x, 0 * x),
    "relu6": lambda x: torch.where(x > 6, 0 * x + 6, torch.where(x > 0, x, 0 * x)),
    "silu": lambda x: x / (1 + torch.exp(-x)),
}


def site(
    *, channels: tuple[int, int], kernel: int = 3, stride: int = 1, groups: int = 1, act: str = ""
) -> Site:
    return Site(
        name="layer",
        slots=frozenset({Slot.CONV_NORM_ACT}),
        role=Role.SPATIAL,
        stage=0,
        block=0,
        block_name="",
        kind="conv2d",
        in_channels=channels[0],
        out_channels=channels[1],
        kernel_size=(kernel, kernel),
        stride=(stride, stride),
        padding=(kernel // 2, kernel // 2),
        groups=groups,
        norm="norm",
        act_type=act,
    )


def shaken(operator: Ghost, dtype: torch.dtype) -> Ghost:
    """Give norms weights and statistics that matter."""
    for norm in (operator.primary_norm, operator.cheap_norm):
        for value in (norm.weight.data, norm.running_var):
            assert value is not None
            value.uniform_(0.5, 1.5)
        nn.init.normal_(norm.bias)
        assert norm.running_mean is not None
        norm.running_mean.normal_()
    return operator.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("place", "settings"),
    [
        (site(channels=(3, 6), act="relu"), Settings()),
        (site(channels=(3, 7), stride=2, act="relu6"), Settings(ratio=3)),
        (site(channels=(4, 8), kernel=1, stride=2), Settings(dw=5)),
        (site(channels=(4, 8), groups=2, act="silu"), Settings(ratio=4)),
    ],
    ids=["dense", "strided and cut", "pointwise", "grouped"],
)
def test_the_module_equals_its_reference(
    dtype: torch.dtype, training: bool, place: Site, settings: Settings
) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return reference_ghost.ghost(
            x,
            weights=state,
            out_channels=place.out_channels,
            stride=place.stride[0],
            padding=place.padding[0],
            groups=place.groups,
            training=training,
            activate=ACTIVATIONS[place.act_type],
        )

    operator = shaken(Ghost(place, settings), dtype).train(training)
    for images in (1, 2):
        x = torch.randn(images, place.in_channels, 7, 5, dtype=dtype)
        operator.zero_grad()
        assert_equals_reference(operator, x, reference)
        operator.zero_grad()
        assert_equals_reference(
            operator, x.contiguous(memory_format=torch.channels_last), reference
        )


def test_it_computes_what_timm_computes() -> None:
    theirs = GhostModule(16, 23, kernel_size=3, ratio=3, stride=2)
    place = site(channels=(16, 23), stride=2, act="relu")
    ours = Ghost(place, Settings(ratio=3))
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, 16, 9, 7)
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)


def test_the_layout_of_the_map_is_kept() -> None:
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    operator = Ghost(site(channels=(4, 7), act="relu"), Settings(ratio=3))
    assert operator(x).is_contiguous(memory_format=torch.channels_last)


def test_it_brings_the_norm_and_activation_of_the_network_and_only_those() -> None:
    network = build("resnet18/ghost", device="meta")
    block = network.get_submodule("layer1.0")
    assert isinstance(block.conv1, Ghost)
    assert isinstance(block.bn1, nn.Identity)
    assert isinstance(block.act1, nn.Identity)
    assert isinstance(block.conv1.cheap_act, nn.ReLU)
    assert isinstance(block.get_submodule("conv2.cheap_act"), nn.Identity), (
        "a linear end stays linear"
    )
    assert isinstance(block.act2, nn.ReLU), "the activation after the sum stays"


def test_the_stem_and_depthwise_convolutions_stay() -> None:
    resnet = build("resnet18/ghost", device="meta")
    mobilenet = build("mobilenetv2_050/ghost", device="meta")
    assert isinstance(resnet.conv1, nn.Conv2d)
    kept = [m for m in mobilenet.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    own = [m.cheap_conv for m in mobilenet.modules() if isinstance(m, Ghost)]
    assert len(kept) - len(own) == 1 + 17


def test_spatial_leaves_the_pointwise_convolutions() -> None:
    network = build("resnet50/ghost(where=spatial)", device="meta")
    taken = [m for m in network.modules() if isinstance(m, Ghost)]
    assert len(taken) == 16
    assert all(m.primary_conv.kernel_size == (3, 3) for m in taken)


def test_counts_follow_the_formula_of_the_paper() -> None:
    plain, ghost = cost("resnet18/conv"), cost("resnet18/ghost(ratio=4,dw=5)")
    # k^2 M m + d^2 m (S - 1) + 2 m S for each of the 19 convolutions, instead of k^2 M L + 2 L
    widths = [(64, 64, 3)] * 4
    for narrow, wide in ((64, 128), (128, 256), (256, 512)):
        widths += [(narrow, wide, 3), (wide, wide, 3), (wide, wide, 3), (wide, wide, 3)]
        widths += [(narrow, wide, 1)]
    before = sum(k * k * i * o + 2 * o for i, o, k in widths)
    after = sum(k * k * i * o // 4 + 25 * o // 4 * 3 + 2 * o for i, o, k in widths)
    assert ghost.params == plain.params - before + after


def test_an_even_cheap_kernel_is_refused() -> None:
    with pytest.raises(SettingError, match="expected an odd number"):
        resolve("resnet18/ghost(dw=2)")


@pytest.mark.parametrize("text", ["ghost(ratio=1)", "ghost(dw=0)", "ghost(where=none)"])
def test_a_setting_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"ghost\(\w+=\w+\): Input should be"):
        resolve(f"resnet18/{text}")


def test_an_activation_that_it_cannot_make_is_refused() -> None:
    with pytest.raises(UnsupportedNetworkError, match="knows no 'wobble'; known: "):
        Ghost(site(channels=(4, 8), act="wobble"), Settings())


def test_a_network_without_norms_after_convolutions_is_refused() -> None:
    with pytest.raises(UnsupportedNetworkError, match="nothing to replace"):
        build("deit_tiny_patch16_224/ghost", device="meta")
