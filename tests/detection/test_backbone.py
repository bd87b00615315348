"""Our backbones inside mmdet: what is frozen, what is held in evaluation mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detection.backbone import ConvoyBackbone
from detection.errors import ConfigError

# after detection, which makes mmdet importable
from mmdet.registry import MODELS  # isort: skip

SHARED = "resnet18/kernel_warehouse"


def made(backbone: str, **options: Any) -> ConvoyBackbone:
    settings = {"type": "ConvoyBackbone", "backbone": backbone, **options}
    built: ConvoyBackbone = MODELS.build(settings)
    return built


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def values(backbone: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in backbone.state_dict().items()}


def learn(backbone: ConvoyBackbone, *, steps: int = 3) -> dict[str, Tensor]:
    """Train for some steps as a run does, and return what did not change."""
    before = values(backbone)
    learning = [one for one in backbone.parameters() if one.requires_grad]
    optimiser = torch.optim.Adam(learning, lr=1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        maps = backbone.train()(images())
        sum((one.square().sum() for one in maps), torch.tensor(0)).backward()
        optimiser.step()
    after = backbone.state_dict()
    return {name: value for name, value in before.items() if torch.equal(value, after[name])}


def test_what_is_used_up_to_the_first_map_stays_shared_cells_included() -> None:
    backbone = made(SHARED, frozen_stages=1)
    network = backbone.pyramid.network
    used = {
        id(parameter)
        for path in ("conv1", "bn1", "layer1")
        for parameter in network.get_submodule(path).parameters()
    }
    frozen = {id(one) for one in backbone.parameters() if not one.requires_grad}
    assert frozen == used
    cells = network.state_dict()["layer1.0.conv1.warehouse.cells"]
    assert cells.data_ptr() in {p.data_ptr() for p in backbone.parameters() if not p.requires_grad}


def test_frozen_weights_and_statistics_are_the_same_after_training() -> None:
    same = learn(made(SHARED, frozen_stages=1))
    frozen = ("conv1.", "bn1.", "layer1.")
    prefix = "pyramid.network."
    state = made(SHARED, frozen_stages=1).state_dict()
    expected = {name for name in state if name.removeprefix(prefix).startswith(frozen)}
    assert expected <= set(same)
    # of the rest only cells that layer1 uses, too, are the same: later layers share them
    assert {name for name in set(same) - expected if not name.endswith("warehouse.cells")} == set()


def test_as_many_parameters_are_frozen_as_mmdet_freezes_of_its_resnet() -> None:
    theirs = MODELS.build({"type": "mmdet.ResNet", "depth": 50, "frozen_stages": 1})
    ours = made("resnet50/conv", frozen_stages=1, device="meta")
    counts = [
        sum(parameter.numel() for parameter in one.parameters() if not parameter.requires_grad)
        for one in (theirs, ours)
    ]
    assert counts == [225_344, 225_344]


def test_a_quarter_of_a_transformer_can_be_frozen_with_its_positions() -> None:
    backbone = made("deit_tiny_patch16_224/conv", frozen_stages=1, device="meta")
    network = backbone.pyramid.network
    frozen = {
        name.partition(".")[0] if not name.startswith("blocks.") else name[:8]
        for name, one in network.named_parameters()
        if not one.requires_grad
    }
    assert frozen == {"cls_token", "pos_embed", "patch_embed", "blocks.0", "blocks.1", "blocks.2"}


def test_nothing_is_frozen_by_default() -> None:
    backbone = made("resnet18/conv", device="meta")
    assert all(one.requires_grad for one in backbone.parameters())
    assert all(one.training for one in backbone.modules())


def test_norm_eval_keeps_statistics_and_lets_weights_learn() -> None:
    backbone = made("resnet18/conv", norm_eval=True)
    same = learn(backbone)
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert set(same) == {name for name in backbone.state_dict() if name.endswith(statistics)}


def test_modes_survive_train_and_eval() -> None:
    backbone = made("resnet18/conv", frozen_stages=1, norm_eval=True, drop_path=0.2)
    backbone.eval().train()
    network = backbone.pyramid.network
    assert not any(one.training for one in network.get_submodule("layer1").modules())
    norms = [one for one in backbone.modules() if isinstance(one, _BatchNorm)]
    assert norms
    assert not any(one.training for one in norms)
    assert network.get_submodule("layer4.1.drop_path").training
    assert not any(one.training for one in backbone.eval().modules())


@pytest.mark.parametrize("stages", [-1, 5])
def test_more_stages_than_there_are_cannot_be_frozen(stages: int) -> None:
    with pytest.raises(ConfigError, match=f"frozen_stages is {stages}.* 4 strides: 0 .* to 4"):
        made("resnet18/conv", frozen_stages=stages, device="meta")


def test_everything_can_be_frozen() -> None:
    backbone = made("mobilenetv2_035/conv", frozen_stages=4, device="meta")
    assert not any(one.requires_grad for one in backbone.parameters())
