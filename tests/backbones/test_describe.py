"""A description says what a backbone is and what its paper prints."""

from __future__ import annotations

from backbones.describe import describe


def test_a_description_counts_at_the_size_the_stem_is_meant_for() -> None:
    assert describe("resnet18/conv").image_size == 224
    assert describe("resnet18(stem=small)/conv").image_size == 32
    assert describe("resnet18/conv", image_size=96).image_size == 96


def test_a_description_is_plain_json_with_the_published_rows_of_this_backbone() -> None:
    told = describe("resnet18/eca").as_json()
    assert told["backbone"] == "resnet18/eca"
    assert (told["sites_total"], told["sites_taken"], told["blocks_taken"]) == (21, 0, 8)
    assert told["params"] > 11_689_512
    assert told["published"], "eca's folder keeps rows for resnet18"
    assert all(row["backbone"].startswith("resnet18") for row in told["published"])


def test_layers_that_are_replaced_and_blocks_that_are_gated_are_counted_apart() -> None:
    told = describe("resnet18/kernel_warehouse+eca")
    assert (told.sites_total, told.sites_taken, told.blocks_taken) == (21, 19, 8)


def test_rows_of_other_settings_are_not_this_backbones() -> None:
    assert describe("resnet18/eca(kernels=9)").published == ()
