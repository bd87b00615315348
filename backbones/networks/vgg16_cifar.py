"""VGG-16 of CIFAR, with norms (Simonyan and Zisserman, arXiv 1409.1556, cut down to 32 pixels).

Thirteen 3x3 convolutions without biases, each with its norm, five poolings, and a head of two
linear layers with a norm and a ReLU between them, 512 wide. It is the form that fits the counts of
the HetConv, GhostNet and SPConv tables: 14,987,722 parameters and 313.46 M multiply-adds for ten
classes. Modules are numbered as in torchvision's ``vgg16_bn``.
"""

from __future__ import annotations

from torch import Tensor, nn

from backbones.sample_norm import SampleNorm

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN = 512


class CifarVgg(nn.Module):
    """Images (N, 3, 32, 32) to scores (N, classes); sides of 32 pixels and more."""

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*_features())
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(STAGES[-1][-1], HIDDEN),
            SampleNorm(HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(HIDDEN, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        scores: Tensor = self.classifier(self.global_pool(self.features(x)).flatten(1))
        return scores


def _features() -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for widths in STAGES:
        for width in widths:
            conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers


def vgg16_cifar(*, classes: int) -> nn.Module:
    """Make the network; convolutions start as in He et al. (ICCV 2015)."""
    network = CifarVgg(classes=classes)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
