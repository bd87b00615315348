"""The ShuffleNetV2 of the WeightNet release: its counts, and how its blocks share out channels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.sites import Role, sites

NETWORK = "shufflenet_v2_weightnet_x0_5"


@pytest.mark.parametrize(
    ("width", "plain", "weightnet"),
    [
        ("x0_5", 1_367_840, 1_463_928),
        ("x1_0", 2_213_024, 2_435_832),
        ("x1_5", 3_508_768, 3_915_344),
        ("x2_0", 5_505_040, 6_198_068),
    ],
)
def test_parameters_are_those_of_the_release(width: str, plain: int, weightnet: int) -> None:
    network = f"shufflenet_v2_weightnet_{width}"
    assert cost(network).params == plain
    assert cost(f"{network}/weightnet").params == weightnet


def test_stem_and_last_convolution_have_biases() -> None:
    found = {site.name: site for site in sites(NETWORK) if site.kind == "conv2d"}
    assert {name for name, site in found.items() if site.bias} == {"conv1.0", "conv5.0"}
    assert found["conv1.0"].role is Role.STEM


def test_a_stage_convolves_odd_channels_and_puts_them_behind_the_even_ones() -> None:
    network = build(NETWORK).eval()
    stage = network.get_submodule("stage2")
    torch.manual_seed(0)
    x = torch.randn(2, 24, 8, 8)
    wanted = x
    with torch.no_grad():
        for index, block in enumerate(stage.children()):
            wanted = _as_released(block, wanted, is_first=index == 0)
        torch.testing.assert_close(stage(x), wanted)


def _as_released(block: nn.Module, x: Tensor, *, is_first: bool) -> Tensor:
    """Halve what comes in by even and odd channels, as the release does; interleave nothing."""
    left, right = block.get_submodule("branch1"), block.get_submodule("branch2")
    kept, convolved = (x, x) if is_first else (x[:, 0::2], x[:, 1::2])
    return torch.cat((left(kept), right(convolved)), dim=1)
