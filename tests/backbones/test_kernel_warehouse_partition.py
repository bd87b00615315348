"""Which layers share what, and what that costs: exact against the released configurations."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from backbones.check import check
from backbones.cost import cost
from backbones.errors import SettingError
from backbones.method import published
from backbones.methods.kernel_warehouse import METHOD, Settings
from backbones.methods.kernel_warehouse.partition import Warehouse, partition
from backbones.methods.kernel_warehouse.startup import assignment
from backbones.resolve import resolve
from backbones.sites import Role, Site, Slot, sites

RELEASED: Mapping[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "kernel_warehouse.json").read_text("utf-8")
)
"""Per configuration: parameters, multiply-adds and, per warehouse, its cell, their number and per
layer the kernel, mixtures, cells owned, first cell, hidden width and start-up entries."""


def released_partition(text: str) -> tuple[tuple[Warehouse, ...], Settings]:
    settings = resolve(text).methods[0][1]
    assert isinstance(settings, Settings)
    return partition(sites(text), settings), settings


@pytest.mark.parametrize("text", RELEASED)
def test_every_layer_has_the_cells_of_the_released_configuration(text: str) -> None:
    parts, settings = released_partition(text)
    found = [
        {
            "cell": [part.cell.out_channels, part.cell.in_channels],
            "n": part.cells,
            "layers": [
                [
                    [
                        share.site.out_channels,
                        share.site.in_channels // share.site.groups,
                        *share.site.kernel_size,
                    ],
                    share.mixtures,
                    share.owned,
                    share.first,
                    share.hidden,
                    len(assignment(share, part, settings)),
                ]
                for share in part.shares
            ],
        }
        for part in parts
    ]
    assert found == RELEASED[text]["warehouses"]


@pytest.mark.parametrize("text", RELEASED)
def test_parameters_are_those_of_the_released_networks(text: str) -> None:
    assert cost(text).params == RELEASED[text]["params"]


@pytest.mark.parametrize("text", RELEASED)
def test_multiply_adds_are_those_of_the_formula(text: str) -> None:
    counted = cost(text)
    assert round(counted.madds / 1e6, 2) == RELEASED[text]["madds_m"]
    assert round(counted.madds_assembly / 1e6, 1) == RELEASED[text]["assembly_m"]


@pytest.mark.parametrize("text", RELEASED)
def test_each_cell_starts_one_mixture_at_most(text: str) -> None:
    parts, settings = released_partition(text)
    for part in parts:
        entries = [entry for share in part.shares for entry in assignment(share, part, settings)]
        cells = [cell for _, cell, _ in entries]
        assert len(set(cells)) == len(cells)
        assert len(cells) == min(part.cells, part.mixtures)
        assert {weight for _, _, weight in entries} == {1.0}


@pytest.mark.parametrize(
    ("settings", "params"),
    [("stage3=split", 35_918_508), ("budget=0.75,stage3=split", 24_779_820)],
)
def test_the_third_stage_of_convnext_can_be_split(settings: str, params: int) -> None:
    assert cost(f"convnext_tiny/kernel_warehouse({settings})").params == params


@pytest.mark.parametrize("row", published("kernel_warehouse"), ids=lambda row: row.backbone)
def test_published_rows_name_backbones_that_exist_and_count_right(row: Any) -> None:
    assert str(resolve(row.backbone)) == row.backbone
    if row.params_exact is None:
        return
    counted = cost(row.backbone)
    assert counted.params == row.params_exact
    if row.madds_m is not None:
        assert round(counted.madds / 1e6, 2) == row.madds_m
    if row.params_m is not None and round(counted.params / 1e6, 2) != row.params_m:
        assert f"{counted.params:,}" in row.note, "a deviation is explained in the row"


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("resnet50/kernel_warehouse(budget=0.5)", (1 / 16, 1 / 16, 20)),
        ("resnet50/kernel_warehouse", (1 / 16, 1.0, 20)),
        ("resnet18/kernel_warehouse(budget=0.5)", (1 / 16, 1.0, 20)),
        ("mobilenetv2_100/kernel_warehouse(budget=0.5)", (1 / 32, 1.0, 15)),
        ("mobilenetv2_050/kernel_warehouse(budget=4)", (1 / 16, 1.0, 15)),
    ],
)
def test_what_depends_on_network_and_budget_follows(
    text: str, settings: tuple[float, float, int]
) -> None:
    found = resolve(text).methods[0][1]
    assert isinstance(found, Settings)
    assert (found.reduction_ratio, found.basis_ratio, found.temperature_epochs) == settings
    assert str(resolve(text)) == text


@pytest.mark.parametrize("budget", ["0.3", "1.5", "0.75", "0.01"])
def test_a_budget_that_does_not_fit_is_refused_with_those_that_do(budget: str) -> None:
    with pytest.raises(SettingError, match=r"budgets that fit .*0\.25, 0\.5, 1, 2, 3, 4"):
        check(f"resnet18/kernel_warehouse(budget={budget})")


def test_whole_divisor_cells_do_not_serve_a_quarter() -> None:
    with pytest.raises(SettingError, match="budgets that fit"):
        check("resnet18/kernel_warehouse(budget=0.25,cell_out_ratio=1,cell_in_ratio=1)")


def test_cells_that_do_not_divide_a_kernel_are_refused() -> None:
    with pytest.raises(SettingError, match="do not divide"):
        check("resnet18/kernel_warehouse(cell_out_ratio=0.3)")


@pytest.mark.parametrize("setting", ["budget=0", "budget=-1", "attention=soft", "temperature=2"])
def test_settings_out_of_range_are_refused(setting: str) -> None:
    with pytest.raises(SettingError):
        resolve(f"resnet18/kernel_warehouse({setting})")


def test_several_cells_a_mixture_need_a_budget_of_two() -> None:
    with pytest.raises(SettingError, match="budget of 2"):
        check("resnet18/kernel_warehouse(startup=several_to_one)")
    check("resnet18/kernel_warehouse(budget=2,startup=several_to_one)")


def test_cells_of_ones_own_are_there_for_every_mixture_and_lent_to_none() -> None:
    for settings, fault in (
        ("budget=0.5", "sharing=none gives each mixture cells of its own.*would do|fit"),
        ("startup=one_to_two", "sharing=none does not allow"),
    ):
        with pytest.raises(SettingError, match=fault):
            check(f"resnet18/kernel_warehouse(sharing=none,{settings})")
    check("resnet18/kernel_warehouse(sharing=none,budget=2)")


def test_the_third_stage_is_split_in_a_convnext_only() -> None:
    check("convnext_tiny/kernel_warehouse(stage3=split)")
    with pytest.raises(SettingError, match="leave stage3 unset"):
        check("resnet18/kernel_warehouse(stage3=split)")


def test_own_warehouses_and_whole_kernels() -> None:
    taken = sites("resnet18")
    own = partition(taken, Settings(layout="resnet", sharing="layer"))
    assert [len(part.shares) for part in own] == [1] * 19
    whole = partition(taken, Settings(layout="resnet", partition=False))
    assert {share.mixtures for part in whole for share in part.shares} == {1}
    assert sum(part.cells * part.cell.size for part in whole) == sum(
        part.cells * part.cell.size for part in own
    )


def conv(name: str, channels: tuple[int, int], stage: int, **place: Any) -> Site:
    return Site(
        name=name,
        slots=frozenset({Slot.CONV}),
        role=place.pop("role", Role.SPATIAL),
        stage=stage,
        block=place.pop("block", 0),
        block_name=f"{stage}",
        kind="conv2d",
        in_channels=channels[0],
        out_channels=channels[1],
        **place,
    )


def test_an_unknown_network_hands_the_entrance_of_a_stage_over() -> None:
    network = [
        conv("a", (16, 16), 0),
        conv("b", (16, 24), 1),
        conv("c", (24, 24), 1),
        conv("d", (16, 24), 1, role=Role.SHORTCUT),
        conv("e", (24, 24), 1, block=1),
    ]
    parts = partition(network, Settings())
    members = [[share.site.name for share in part.shares] for part in parts]
    assert members == [["a", "b", "d"], ["c", "e"]]
    assert (parts[0].cell.out_channels, parts[0].cell.in_channels) == (8, 16)


def test_an_entrance_with_a_depthwise_convolution_goes_as_a_block() -> None:
    network = [
        conv("a", (16, 16), 0),
        conv("expand", (16, 96), 1, role=Role.EXPAND),
        conv("depthwise", (96, 96), 1, role=Role.DEPTHWISE, groups=96, kernel_size=(3, 3)),
        conv("project", (96, 24), 1, role=Role.PROJECT),
    ]
    stages = {
        share.site.name: part.name
        for part in partition(network, Settings())
        for share in part.shares
    }
    assert stages == {
        "a": "stage0_conv",
        "expand": "stage0_conv",
        "depthwise": "stage0_depthwise",
        "project": "stage0_conv",
    }


def test_a_downsampling_layer_has_cells_of_its_own_and_nothing_is_handed_over() -> None:
    network = [
        conv("a", (16, 16), 0),
        conv("down", (16, 24), 1, role=Role.DOWNSAMPLE, block=-1, kernel_size=(2, 2)),
        conv("b", (24, 24), 1),
    ]
    members = [
        [share.site.name for share in part.shares] for part in partition(network, Settings())
    ]
    assert members == [["a"], ["down"], ["b"]]


@pytest.mark.parametrize("network", ["efficientnet_b0", "shufflenet_v2_x1_0", "vgg16_bn"])
def test_an_unknown_network_keeps_its_attentions_small(network: str) -> None:
    parts = partition(sites(network), Settings())
    for part in parts:
        is_of_one_shape = len({math.prod(s.site.kernel_size) for s in part.shares}) == 1
        assert part.mixtures <= 256 or is_of_one_shape, part.name
    assert METHOD.check is not None
