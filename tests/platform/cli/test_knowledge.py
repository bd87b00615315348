from __future__ import annotations

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
    assert "number > 0" in out


def test_methods_as_json_hold_every_setting(command: Any) -> None:
    found = {method["name"]: method for method in command("methods", "--json").json()}
    assert found["eca"]["settings"]["gamma"]["exclusiveMinimum"] == 0
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
