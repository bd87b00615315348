"""DiCENet: its counts, its blocks, and the weights that its authors released."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from backbones import weights
from backbones.build import build
from backbones.cost import cost
from backbones.fusion import fuse
from backbones.methods.dice import inference
from backbones.methods.dice.stage import Block, Stage, StridedBlock
from backbones.methods.dice.stage_inference import FusedStage
from backbones.sites import Role, sites
from tests.backbones.closeness import relative_error
from tests.backbones.released_lists import named
from tests.backbones.small_sites import shake

SMALLEST = "dicenet_0_2"

COUNTS = {
    "0_2": (1_130_704, 14_902_464),
    "0_5": (1_214_120, 24_711_328),
    "0_75": (1_495_676, 46_825_936),
    "1_0": (1_805_604, 70_709_744),
    "1_25": (2_162_888, 98_114_272),
    "1_5": (2_652_200, 135_479_200),
    "1_75": (3_264_932, 182_243_260),
    "2_0": (3_979_044, 236_290_928),
    "2_4": (5_113_628, 297_941_296),
}
"""Parameters and multiply-adds of the authors' networks, by width."""


@pytest.mark.parametrize("width", COUNTS)
def test_counts_are_those_of_the_authors_code(width: str) -> None:
    counted = cost(f"dicenet_{width}/conv")
    assert (counted.params, counted.madds) == COUNTS[width]


def test_kernels_of_rows_and_columns_follow_the_image_size() -> None:
    small, usual = (build(SMALLEST, image_size=size, device="meta") for size in (96, 224))
    path = "stage2.3.right.unit.width_conv.weight"
    assert (small.get_parameter(path).shape[0], usual.get_parameter(path).shape[0]) == (6, 14)


@pytest.mark.parametrize("size", [(224, 224), (64, 96), (33, 45), (256, 224)])
def test_images_of_other_sizes_are_taken(size: tuple[int, int]) -> None:
    network = build(SMALLEST, classes=7).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, *size)).shape == (1, 7)


def test_a_block_passes_half_of_its_channels_on_and_deals_them_out() -> None:
    block = Block(6, 8, size=(4, 4)).eval()
    x = torch.randn(2, 6, 4, 4)
    with torch.no_grad():
        y, made = block(x), block.right(x[:, 3:])
    # eight channels from three and five: the first four are dealt out to the even places
    together = torch.cat((x[:, :3], made), 1)
    assert torch.equal(y[:, 0::2], together[:, :4])
    assert torch.equal(y[:, 1::2], together[:, 4:])


def test_a_block_that_strides_has_a_depthwise_half_and_one_of_means() -> None:
    block = StridedBlock(4, size=(3, 3)).eval()
    shake(block)
    x = torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        y = block(x)
        assert torch.equal(y[:, 0::2], block.left(x))
        assert torch.equal(y[:, 1::2], block.right(x))


def test_dropout_is_larger_in_wide_networks() -> None:
    rates = [
        next(m.p for m in build(name, device="meta").modules() if isinstance(m, nn.Dropout))
        for name in ("dicenet_1_0", "dicenet_1_25")
    ]
    assert rates == [0.1, 0.2]


def test_stages_and_blocks_are_those_of_the_table() -> None:
    blocks = [site for site in sites("dicenet_1_0") if site.kind == "block"]
    assert [site.name for site in blocks if site.block == 0] == [f"stage{n}.0" for n in (1, 2, 3)]
    assert [site.stage for site in blocks] == [0] * 4 + [1] * 8 + [2] * 4


def test_the_classifier_and_the_stem_are_told_from_the_rest() -> None:
    roles = {site.name: site.role for site in sites(SMALLEST)}
    assert roles["classifier"] is Role.CLASSIFIER
    assert roles["stem.conv"] is Role.STEM


@pytest.mark.parametrize("width", ["0_2", "1_0"])
def test_released_tensors_reach_the_layers_that_they_are_of(width: str) -> None:
    given = named(f"dicenet_{width}/conv").drawn()
    network = build(f"dicenet_{width}")
    fit = weights.load(network, given, backbone=f"dicenet_{width}/conv")
    assert fit.source == "the names of sacmehta/EdgeNets"
    pairs = {
        "stem.conv.weight": "level1.cbr.0.weight",
        "stage1.0.left.pointwise.act.weight": "level3.0.left_layer.1.cbr.2.weight",
        "stage1.0.right.unit.height_conv.weight": "level3.0.right_layer.1.conv_height.weight",
        "stage2.4.right.unit.width_conv.weight": "level4.4.layer_right.1.conv_width.weight",
        "stage2.4.right.unit.squeeze.weight": "level4.4.layer_right.1.linear_comb_layer.1.weight",
        "stage3.1.right.unit.branch_norm.bias": "level5.1.layer_right.1.br_act.br.0.bias",
        "stage3.3.right.unit.excite.weight": "level5.3.layer_right.1.linear_comb_layer.3.weight",
        "hidden.weight": "classifier.0.weight",
        "classifier.weight": "classifier.2.weight",
    }
    state = network.state_dict()
    for ours, theirs in pairs.items():
        assert torch.equal(state[ours], given[theirs].reshape(state[ours].shape)), ours


def test_layouts_give_the_same_scores() -> None:
    network = build(SMALLEST).eval()
    shake(network)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted = network.double()(x.double())
        network.float().to(memory_format=torch.channels_last)
        last = network(x.contiguous(memory_format=torch.channels_last))
    assert relative_error(last, wanted) < 1e-4


@pytest.mark.parametrize("images", [1, 3])
def test_fusion_keeps_the_scores(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(SMALLEST, classes=7, image_size=64).eval()
    shake(network)
    fused = fuse(network, image_size=64)
    stages = [module for module in fused.modules() if isinstance(module, FusedStage)]
    assert len(stages) == 3
    monkeypatch.setattr(inference, "_LARGEST", 2**16)  # an image at a time
    for stage in stages:
        stage.general.forward = None  # type: ignore[assignment, method-assign]  # not to be taken
    x = torch.randn(images, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(fused(x), network(x)) < 1e-5


def test_a_fused_network_takes_images_of_other_sizes() -> None:
    network = build(SMALLEST, classes=7, image_size=64).eval()
    fused = fuse(network, image_size=64)
    x = torch.randn(2, 3, 96, 70)
    with torch.no_grad():
        assert relative_error(fused(x), network(x)) < 1e-5


def test_a_stage_knows_where_every_channel_is() -> None:
    """What passes blocks unseen comes out where the blocks would have dealt it."""
    stage = Stage(StridedBlock(6, size=(4, 4)), [Block(12, 18, size=(4, 4))])
    wide = Stage(
        StridedBlock(5, size=(4, 4)),
        [Block(10, 14, size=(4, 4)), *(Block(14, 14, size=(4, 4)) for _ in range(6))],
    )
    for each, channels in ((stage, 6), (wide, 5)):
        shake(each.eval())
        x = torch.randn(2, channels, 8, 8)
        with torch.no_grad():
            assert relative_error(each.fused()(x), each(x)) < 1e-5
