import torch

from backbones.build import build
from backbones.cost import cost


def test_it_has_the_parameters_and_multiply_adds_of_the_paper() -> None:
    counted = cost("resnet20/conv", classes=10, image_size=32)
    assert counted.params == 269_722
    assert round(counted.madds / 1e6, 1) == 40.6


def test_a_shortcut_keeps_every_second_pixel_and_adds_channels_of_zeros() -> None:
    network = build("resnet20/conv", classes=10, image_size=32)
    x_nchw = torch.rand(2, 16, 8, 8)
    y_nchw = network.get_submodule("layer2.0.downsample")(x_nchw)
    assert y_nchw.shape == (2, 32, 4, 4)
    assert torch.equal(y_nchw[:, 8:24], x_nchw[:, :, ::2, ::2])
    assert not y_nchw[:, :8].any()
    assert not y_nchw[:, 24:].any()
