from __future__ import annotations

import pytest
import torch
from torch import nn

from backbones.build import build
from backbones.cost import cost
from backbones.describe import describe
from backbones.errors import UnsupportedNetworkError
from backbones.fusion import fuse
from backbones.sites import Role, sites
from tests.backbones.closeness import relative_error
from tests.backbones.small_sites import shake


def test_it_has_the_counts_of_hetconv_and_ghostnet() -> None:
    counted = cost("vgg16_cifar/conv", classes=10, image_size=32)
    assert (counted.params, counted.madds) == (14_987_722, 313_463_808)


def test_it_is_described_at_the_size_of_cifar() -> None:
    assert describe("vgg16_cifar/conv").image_size == 32


def test_twelve_convolutions_can_be_replaced_and_the_first_is_the_stem() -> None:
    layers = [site for site in sites("vgg16_cifar", image_size=32) if site.kind == "conv2d"]
    assert [site.role for site in layers] == [Role.STEM, *[Role.SPATIAL] * 12]
    assert [site.in_size[0] for site in layers] == [32] * 2 + [16] * 2 + [8] * 3 + [4] * 3 + [2] * 3
    assert all(site.act_type == "relu" for site in layers)


def test_its_convolutions_have_the_names_of_torchvisions_vgg16() -> None:
    ours, theirs = (
        [name for name in build(f"{one}/conv", device="meta").state_dict() if "features" in name]
        for one in ("vgg16_cifar", "vgg16_bn")
    )
    assert ours == [name for name in theirs if name in set(ours)]


def test_one_image_trains_without_statistics_of_its_own_in_the_head() -> None:
    network = build("vgg16_cifar/conv", classes=10).train()
    norm = network.get_submodule("classifier.1")
    scores = network(torch.randn(1, 3, 32, 32))
    assert scores.shape == (1, 10)
    assert bool(scores.isfinite().all())
    assert not norm.get_buffer("running_mean").any()
    network(torch.randn(2, 3, 32, 32))
    assert norm.get_buffer("running_mean").any()


def test_fused_it_keeps_its_outputs_and_no_norm() -> None:
    network = build("vgg16_cifar/conv", classes=10)
    shake(network)
    fused, x = fuse(network, image_size=32), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert relative_error(fused(x), network.eval()(x)) < 1e-5
    assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in fused.modules())


def test_images_that_five_poolings_leave_nothing_of_are_refused() -> None:
    with pytest.raises(UnsupportedNetworkError, match="vgg16_cifar does not take one 16x16 image"):
        build("vgg16_cifar/conv", image_size=16, device="meta")
