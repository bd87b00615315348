from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError, UnsupportedNetworkError
from backbones.fusion import fuse
from backbones.methods.ant import Settings, hidden_channels
from backbones.methods.ant.maps import maps
from backbones.methods.ant.operator import AntBlock, plan
from backbones.resolve import resolve
from backbones.sites import Role, Site, Slot, sites
from tests.backbones.closeness import TOLERANCE, assert_equals_reference, relative_error
from tests.backbones.reference_ant import ant_block
from tests.backbones.small_sites import shake


def block(
    channels: tuple[int, int],
    *,
    width: int,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> Site:
    return Site(
        name="block",
        slots=frozenset({Slot.BLOCK}),
        role=Role.BLOCK,
        stage=0,
        block=0,
        block_name="block",
        kind="block",
        in_channels=channels[0],
        out_channels=channels[1],
        kernel_size=kernel,
        stride=stride,
        dilation=dilation,
        groups=width,
    )


PLACES = {
    "residual": block((4, 4), width=8),
    "other channels": block((2, 4), width=6),
    "stride 2": block((4, 4), width=8, stride=(2, 2)),
    "no widening": block((6, 4), width=6),
    "5x5, stride 2": block((2, 6), width=4, kernel=(5, 5), stride=(2, 2)),
    "uneven": block((4, 4), width=8, kernel=(1, 5), stride=(2, 1), dilation=(1, 2)),
}


def made(place: Site, settings: Settings) -> AntBlock:
    module = plan([place], settings)[place.name]
    assert isinstance(module, AntBlock)
    shake(module)
    return module


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_block_equals_its_reference(
    training: bool, dtype: torch.dtype, groups: int, place: Site
) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return ant_block(x, state, place=place, groups=groups, training=training)

    layer = made(place, Settings(reduction=2, groups=groups)).to(dtype).train(training)
    for images, height, width in ((1, 5, 4), (3, 4, 5)):
        x = torch.randn(images, place.in_channels, height, width, dtype=dtype)
        for layout in (torch.contiguous_format, torch.channels_last):
            layer.zero_grad()
            assert_equals_reference(layer, x.contiguous(memory_format=layout), reference)


def test_half_precision_stays_within_its_tolerance() -> None:
    layer = made(PLACES["stride 2"], Settings(reduction=2, groups=2)).eval()
    x = torch.randn(3, 4, 9, 8)
    state = {name: value.double() for name, value in layer.state_dict().items()}
    place = PLACES["stride 2"]
    wanted = ant_block(x.double(), state, place=place, groups=2, training=False)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert relative_error(layer(x), wanted) < TOLERANCE[torch.bfloat16]
    with torch.no_grad():
        whole = layer.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert whole.dtype is torch.bfloat16
    assert relative_error(whole, wanted) < TOLERANCE[torch.bfloat16]


def test_the_layout_of_the_map_is_kept() -> None:
    x = torch.randn(2, 4, 6, 5).contiguous(memory_format=torch.channels_last)
    layer = made(PLACES["stride 2"], Settings(groups=2))
    assert layer(x).is_contiguous(memory_format=torch.channels_last)


def test_the_block_is_compiled_without_a_break() -> None:
    layer, x = made(PLACES["stride 2"], Settings(groups=2)).eval(), torch.randn(2, 4, 9, 7)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert relative_error(compiled(x), layer(x)) < 1e-6


def test_the_block_is_exported_for_any_number_of_images() -> None:
    layer = made(PLACES["residual"], Settings(groups=2)).eval()
    shapes = ({0: torch.export.Dim("images", min=1, max=64)},)
    arguments = (torch.randn(2, 4, 9, 7),)
    exported = torch.export.export(layer, arguments, dynamic_shapes=shapes).module()
    x = torch.randn(5, 4, 9, 7)
    with torch.no_grad():
        assert relative_error(exported(x), layer(x)) < 1e-6


def test_weights_start_with_the_deviation_of_their_fan_out() -> None:
    layer = AntBlock((64, 96), width=384, hidden=24, groups=2)
    for path, fan_out in {"expand.0": 384, "depthwise.0": 9, "project": 48}.items():
        weight = layer.get_submodule(path).get_parameter("weight").detach()
        assert float(weight.std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


# --- in a network ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "params", "madds"),
    [
        ("mobilenetv2_100/ant", 3_820_584, 301_089_984),
        ("mobilenetv2_100/ant(groups=2)", 3_338_984, 242_032_832),
        ("mobilenetv2_100/ant(groups=2,group_first=false)", 3_339_240, 245_244_096),
        ("mobilenetv2_140/ant", 6_729_704, 582_816_752),
        ("mobilenetv2_140/ant(groups=2)", 5_782_568, 465_367_280),
    ],
)
def test_a_mobilenetv2_of_these_blocks_is_an_antnet(text: str, params: int, madds: int) -> None:
    counted = cost(text)
    assert (counted.params, counted.madds) == (params, madds)


def test_an_attention_costs_its_two_matrices_and_groups_divide_the_projection() -> None:
    plain, attentive, grouped = (
        cost(f"mobilenetv2_050/{text}") for text in ("conv", "ant(reduction=8)", "ant(groups=4)")
    )
    blocks = [site for site in sites("mobilenetv2_050") if site.kind == "block"]
    assert len(blocks) == 17
    matrices = [2 * site.groups * (site.groups // 8) for site in blocks]
    assert attentive.params - plain.params == sum(matrices)
    assert attentive.madds - plain.madds == sum(matrices)
    saved = [site.groups * site.out_channels * 3 // 4 for site in blocks]
    hidden = [2 * site.groups * hidden_channels(site, Settings()) for site in blocks]
    assert plain.params - grouped.params == sum(saved) - sum(hidden)


def test_blocks_keep_kernel_and_stride_of_the_network() -> None:
    network = build("mobilenetv3_large_100/ant(reduction=4)", device="meta")
    blocks = [module for module in network.modules() if isinstance(module, AntBlock)]
    assert len(blocks) == 15
    convs = [block.get_submodule("depthwise.0") for block in blocks]
    found = [(m.kernel_size[0], m.stride[0]) for m in convs if isinstance(m, nn.Conv2d)]
    assert found[:4] == [(3, 1), (3, 2), (3, 1), (5, 2)]
    assert not any(".se." in name for name, _ in network.named_parameters()), (
        "the network's own attention went with its blocks"
    )


def test_a_gate_on_top_stands_before_the_sum() -> None:
    network = build("mobilenetv2_050/ant+eca", classes=10, seed=3).eval()
    layer = network.get_submodule("blocks.2.1")
    assert isinstance(layer, AntBlock)
    bare = copy.deepcopy(layer)
    bare.gate = nn.Identity()
    x = torch.randn(2, 16, 8, 8)
    with torch.no_grad():
        gated = layer.gate(layer.project_norm(layer.project(_before_projection(layer, x))))
        assert torch.allclose(layer(x), x + gated, atol=1e-6)
        assert not torch.allclose(layer(x), bare(x), atol=1e-6)


def _before_projection(layer: AntBlock, x: Tensor) -> Tensor:
    wide: Tensor = layer.attn(layer.depthwise(layer.expand(x)))
    return wide


def test_stochastic_depth_of_the_network_goes_on_in_its_blocks() -> None:
    network = build("mobilenetv2_050/ant", classes=10, drop_path=0.2)
    rates = [m.drop_prob for m in network.modules() if isinstance(m, DropPath)]
    plain = build("mobilenetv2_050/conv", classes=10, drop_path=0.2)
    assert rates == [m.drop_prob for m in plain.modules() if isinstance(m, DropPath)]
    layer = network.get_submodule("blocks.2.1")
    assert isinstance(layer, AntBlock)
    assert isinstance(layer.drop_path, DropPath)
    layer.drop_path.drop_prob = 1 - 1e-9
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(layer.train()(x), x), "a dropped block is its input"


@pytest.mark.parametrize("text", ["ant(groups=2)", "ant+eca"])
def test_fused_it_keeps_its_outputs_and_no_norm(text: str) -> None:
    network = build(f"mobilenetv2_050/{text}", classes=10, image_size=64)
    shake(network)
    fused, x = fuse(network, image_size=64), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(fused(x), network.eval()(x)) < 1e-5
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())


def test_what_its_attention_says_can_be_looked_at_also_below_another_gate() -> None:
    network = build("mobilenetv2_050/ant+se", classes=10, image_size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    taken = [site for site in sites("mobilenetv2_050", image_size=32) if site.kind == "block"]
    spread, first, *_ = maps(network, images, sites=taken, settings=Settings())
    assert spread.values.shape == (17, 10)
    assert first.values.shape == (1, 16)
    seen: list[Tensor] = []
    network.get_submodule("blocks.0.0.attn.gate").register_forward_hook(
        lambda _, __, said: seen.append(said)
    )
    with torch.no_grad():
        network(images)
    assert torch.allclose(torch.as_tensor(first.values[0]), seen[0].mean(0).flatten(), atol=1e-6)


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network",
    ["resnet18", "convnext_tiny", "shufflenet_v2_x1_0", "mobilenetv1_100", "deit_tiny_patch16_224"],
)
def test_a_network_of_other_blocks_is_refused_and_told_what_is_needed(network: str) -> None:
    with pytest.raises(
        UnsupportedNetworkError,
        match=r"ant needs inverted residual blocks .*MobileNetV2.* residual blocks of another kind",
    ):
        build(f"{network}/ant", device="meta")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reduction=0", "expected a whole number, or one for each stage"),
        ("reduction=8-x", "expected a whole number, or one for each stage"),
        ("reduction=2.5", "expected a whole number"),
        ("groups=0", "greater than or equal to 1"),
        ("group_first=maybe", "valid boolean"),
        ("group_first=false", "acts on groups above 1 only"),
    ],
)
def test_a_setting_out_of_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        resolve(f"mobilenetv2_100/ant({text})")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mobilenetv2_100/ant(reduction=8-16)", "2 numbers for a network of 7 stages; write 7"),
        ("mobilenet_v2/ant", "7 numbers for a network of 5 stages; .*such as reduction=16"),
        ("mobilenetv2_100/ant(groups=3)", r"projection of blocks.0.0 .* 32 to 16 channels"),
    ],
)
def test_settings_that_a_network_cannot_serve_say_what_would_do(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build(text, device="meta")


def test_numbers_for_stages_have_one_spelling() -> None:
    assert str(resolve("mobilenetv2_100/ant(reduction=08-8-12-16-24-32-64)")) == (
        "mobilenetv2_100/ant"
    )
    assert Settings(reduction="16") == Settings(reduction=16)
