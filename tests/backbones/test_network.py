"""Names of networks and how they are made."""

from __future__ import annotations

import pytest
import timm
import torchvision
from torch import nn

from backbones import network as networks
from backbones.errors import UnknownNetworkError, UnsupportedNetworkError


def test_names_read_from_source_are_those_the_libraries_register() -> None:
    origins = networks.origins()
    from_timm = {name for name, origin in origins.items() if origin == "timm"}
    from_torchvision = {name for name, origin in origins.items() if origin == "torchvision"}
    registered = set(torchvision.models.list_models(module=torchvision.models))
    assert from_timm == set(timm.list_models())
    assert from_torchvision == registered - from_timm


def test_an_unknown_network_names_its_neighbours() -> None:
    with pytest.raises(UnknownNetworkError, match="resnet18"):
        networks.require("resnett18")


def test_a_small_stem_keeps_the_resolution() -> None:
    network = networks.create(
        "resnet18", options=networks.Options(stem="small"), classes=10, device="meta"
    )
    stem = network.get_submodule("conv1")
    assert isinstance(stem, nn.Conv2d)
    assert (stem.kernel_size, stem.stride, stem.padding) == ((3, 3), (1, 1), (1, 1))
    assert isinstance(network.get_submodule("maxpool"), nn.Identity)


def test_a_network_of_patches_has_no_small_stem() -> None:
    with pytest.raises(UnsupportedNetworkError, match="patches"):
        networks.create(
            "convnext_tiny", options=networks.Options(stem="small"), classes=10, device="meta"
        )


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x0_5", "squeezenet1_0"])
def test_the_classifier_has_the_width_asked_for(name: str) -> None:
    wide = networks.create(name, options=networks.Options(), classes=7, device="meta")
    assert any(
        getattr(module, "out_features", getattr(module, "out_channels", None)) == 7
        for module in wide.modules()
    )


@pytest.mark.parametrize("network", ["resnet20_cifar", "mobilenetv2_035"])
def test_weights_that_nobody_published_are_refused_not_drawn(network: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match=f"no pretrained weights .* {network}"):
        networks.create(network, options=networks.Options(), classes=10, pretrained=True)


def test_weights_for_pixels_of_another_scale_are_refused() -> None:
    with pytest.raises(UnsupportedNetworkError, match=r"expect pixels with mean \(0\.5, "):
        networks.create(
            "tf_mobilenetv3_small_100", options=networks.Options(), classes=10, pretrained=True
        )
