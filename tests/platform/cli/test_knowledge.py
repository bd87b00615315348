from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest


def test_methods_are_listed_with_their_papers(command: Any) -> None:
    answer = command("methods")
    assert "Efficient Channel Attention" in answer.out
    assert "1910.03151" in answer.out
    assert "platform describe" in answer.err


def test_a_method_that_is_named_shows_its_settings(command: Any) -> None:
    out = command("methods", "eca").out
    assert "gamma" in out
    assert "number >= 0.1 and <= 100" in out


def test_methods_as_json_hold_every_setting(command: Any) -> None:
    found = {method["name"]: method for method in command("methods", "--json").json()}
    assert found["eca"]["settings"]["gamma"]["minimum"] == 0.1
    assert found["conv"]["settings"] == {}


def test_an_unknown_method_names_near_ones(command: Any) -> None:
    assert "eca" in command("methods", "ecaa").out


def test_networks_go_into_a_pipe_one_a_line(command: Any) -> None:
    names = command("networks").out.split()
    assert len(names) > 1000
    assert {"resnet18", "mobilenetv2_100", "shufflenet_v2_x1_0"} <= set(names)


def test_networks_can_be_narrowed(command: Any) -> None:
    found = command("networks", "SHUFFLENET", "--json").json()
    assert found
    assert all("shufflenet" in network["name"] for network in found)
    assert {network["origin"] for network in found} <= {"timm", "torchvision", "convoy"}


def test_describe_counts_several_backbones(command: Any) -> None:
    words = ("describe", "resnet18/kernel_warehouse(budget=4)", "mobilenetv2_100/conv", "--json")
    warehouse, mobile = command(*words).json()
    assert warehouse["backbone"] == "resnet18/kernel_warehouse(budget=4)"
    assert (warehouse["sites_taken"], warehouse["sites_total"]) == (19, 21)
    assert 0 < warehouse["madds_assembly"] < warehouse["madds"]
    assert mobile["params"] == 3_504_872
    assert mobile["sites_taken"] == 0
    assert "0 of 21, 8 blocks" in command("describe", "resnet18/eca").out
    assert {"published", "image_size", "classes", "methods"} <= mobile.keys()


def test_describe_for_people_has_a_row_each(command: Any) -> None:
    answer = command(
        "describe", "resnet18/eca", "resnet18", "--classes", "10", "--image-size", "64"
    )
    rows = [line for line in answer.out.splitlines() if "resnet18/" in line]
    assert [row.split()[0] for row in rows] == ["resnet18/eca", "resnet18/conv"]
    assert [row.split()[1] for row in rows] == ["64", "64"]
    assert "10 classes" in answer.out


@pytest.mark.parametrize("text", ["resnet18/ecaa", "resnet199", "resnet18/eca(gamma=-1)"])
def test_describe_refuses_before_it_builds_anything(command: Any, text: str) -> None:
    answer = command("describe", "resnet18/conv", text)
    assert answer.status == 1
    assert answer.out == ""
    assert answer.err.startswith("error: ")


def test_warehouses_are_told_with_their_layers_cells_and_counts(command: Any) -> None:
    text = "resnet18/kernel_warehouse(budget=4)"
    (told,) = command("describe", text, "--warehouses", "--json").json()
    assert told["backbone"] == text
    (table,) = told["tables"]
    rows = table["rows"]
    assert [row["cell"] for row in rows] == ["64x64", "128x128", "256x256", "512x512"]
    assert [row["m"] for row in rows] == [56, 47, 47, 27]
    assert [row["n"] for row in rows] == [224, 188, 188, 108]
    assert [sum(row["mixtures"]) for row in rows] == [row["m"] for row in rows]
    last = rows[-1]
    assert last["layers"] == ["layer4.0.conv2", "layer4.1.conv1", "layer4.1.conv2"]
    assert last["kernels"] == ["512x512x3x3"] * 3


def test_warehouses_for_people_have_a_line_for_each_layer(command: Any) -> None:
    out = command("describe", "resnet18/kernel_warehouse", "--warehouses").out
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.split()}
    assert lines["stage0_conv"] == [
        *("stage0_conv", "layer1.0.conv1", "64x64x3x3", "64x64", "9", "56", "56")
    ]
    assert lines["layer2.0.downsample.0"] == ["layer2.0.downsample.0", "128x64x1x1", "2"]


def test_the_warehouse_of_a_classifier_follows_the_classes(command: Any) -> None:
    text = "mobilenetv2_100/kernel_warehouse(budget=0.5)"
    (told,) = command("describe", text, "--warehouses", "--classes", "10", "--json").json()
    kernels = {row["warehouse"]: row["kernels"] for row in told["tables"][0]["rows"]}
    assert kernels["classifier"] == ["10x1280x1x1"]


def test_warehouses_of_a_known_network_need_no_torch(command: Any) -> None:
    code = (
        "import sys; from convoy.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "assert 'torch' not in sys.modules"
    )
    words = ("describe", "resnet50/kernel_warehouse(budget=0.5)", "--warehouses")
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)


def test_a_backbone_without_warehouses_names_the_methods_that_have_them(command: Any) -> None:
    backbones = ("resnet18/kernel_warehouse", "resnet18/eca")
    answer = command("describe", *backbones, "--warehouses")
    assert (answer.status, answer.out) == (1, "")
    assert "resnet18/eca" in answer.err
    assert "methods that have one: kernel_warehouse" in answer.err
