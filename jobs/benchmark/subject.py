"""What a benchmark times: here a network by itself, with the contract that detectors fulfil."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.fusion import fuse
from jobs import device as devices
from jobs.benchmark import BenchmarkSpec
from jobs.benchmark.timing import Forward
from jobs.job import Json

INPUTS = 4
"""Batches that are taken in turn."""

WHOLE = ""
"""Name of the part that is all of it."""


class Subject(Protocol):
    """Something that has a backbone and can be timed as a whole and in parts."""

    @property
    def parts(self) -> Sequence[str]:
        """Names of what is timed, the whole first."""

    def notes(self, part: str) -> Sequence[str]:
        """Return what a reader of a part's figures must know, beside the protocol."""

    def costs(self) -> Mapping[str, Json]:
        """Return what it costs, under the names of facts."""

    def inputs(self) -> Mapping[str, Sequence[Tensor]]:
        """Return the batches for each part on the device."""

    def make(self, backbone: str) -> Mapping[str, Forward]:
        """Return a forward pass of each part, with this backbone and fresh weights."""


class Network:
    """A network by itself; fulfils `Subject`.

    Args:
        spec: The protocol.
        device: Where.
    """

    def __init__(self, spec: BenchmarkSpec, *, device: torch.device) -> None:
        self._spec = spec
        self._device = device

    @property
    def parts(self) -> Sequence[str]:
        """All of it."""
        return (WHOLE,)

    def notes(self, part: str) -> Sequence[str]:
        """Return nothing: the protocol says it all."""
        return ()

    def costs(self) -> Mapping[str, Json]:
        """Return parameters and multiply-adds."""
        spec = self._spec
        counted = cost(spec.backbone, classes=spec.classes, image_size=spec.image_size)
        return {
            "params": counted.params,
            "madds": counted.madds,
            "madds_assembly": counted.madds_assembly,
            "image_size": spec.image_size,
        }

    def inputs(self) -> Mapping[str, Sequence[Tensor]]:
        """Return normally distributed images."""
        return {WHOLE: normal_images(self._spec, *self._spec.height_width, device=self._device)}

    def make(self, backbone: str) -> Mapping[str, Forward]:
        """Build the network and return its forward pass."""
        spec = self._spec
        network = build(
            backbone,
            classes=spec.classes,
            image_size=spec.image_size,
            seed=spec.seed,
            device=str(self._device),
        )
        network = prepared(network, spec)
        if spec.engine == "fused":
            network = fuse(network, image_size=spec.image_size, in_place=True)
        return {WHOLE: forward_of(network, spec, device=self._device)}


def prepared(network: nn.Module, spec: BenchmarkSpec) -> nn.Module:
    """Return a network as it is in use: frozen statistics, for one image has none of its own."""
    return network.to(memory_format=layout(spec)).eval()


def forward_of(network: nn.Module, spec: BenchmarkSpec, *, device: torch.device) -> Forward:
    """Return the forward pass of a network in a spec's precision."""

    def forward(batch: Tensor) -> object:
        with devices.mixed(spec.precision, device=str(device)):
            return network(batch)

    return forward


def normal_images(
    spec: BenchmarkSpec, height: int, width: int, *, device: torch.device
) -> list[Tensor]:
    """Return `INPUTS` batches (N, 3, height, width) of normally distributed images."""
    generator = torch.Generator().manual_seed(spec.seed)
    return [
        torch.randn(spec.batch, 3, height, width, generator=generator).to(
            device, memory_format=layout(spec)
        )
        for _ in range(INPUTS)
    ]


def layout(spec: BenchmarkSpec) -> torch.memory_format:
    """Return the layout of maps and kernels in memory."""
    return torch.channels_last if spec.memory_format == "nhwc" else torch.contiguous_format
