"""What happens in one forward pass: which module ran, on which tensors, in which order.

The network runs once on the `meta` device (shapes without values), so a trace takes a fraction of
a second whatever the
network's size. Tensors are told apart by object and version, because an in-place sum keeps the
object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backbones.sites import Pair

TensorKey = tuple[int, int]


@dataclass(frozen=True)
class Call:
    """One call of one module.

    Attributes:
        name: Dotted path.
        module: The module.
        inputs: Keys of the tensor arguments.
        is_direct: Whether they are given one by one, not in a list.
        output: Key of the returned tensor, or None when it returned something else.
        in_shape: Shape of the first tensor argument.
        out_shape: Shape of the returned tensor.
        begin: Rank in the order of entry.
        end: Rank in the order of return.
    """

    name: str
    module: nn.Module
    inputs: tuple[TensorKey, ...]
    is_direct: bool
    output: TensorKey | None
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    begin: int
    end: int


def trace(network: nn.Module, *, image_size: int | Pair, channels: int = 3) -> list[Call]:
    """Run `network` once in evaluation mode on an empty image and note every call.

    Args:
        network: On the `meta` device; left in the mode in which it was.
        image_size: Side of the square input in pixels, or its height and width.
        channels: Channels of the input.

    Returns:
        The calls in the order in which they returned.
    """
    recorder = _Recorder()
    handles = [
        handle
        for name, module in network.named_modules()
        for handle in recorder.attach(name, module)
    ]
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            network(torch.empty(1, channels, height, width, device="meta"))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return recorder.calls


class _Recorder:
    """Holds every tensor alive while the trace runs, so that no identity is used twice."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._alive: list[Tensor] = []
        self._open: list[tuple[int, tuple[TensorKey, ...], bool, tuple[int, ...]]] = []
        self._clock = 0

    def attach(self, name: str, module: nn.Module) -> list[Any]:
        def enter(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            tensors = list(_tensors(arguments))
            shape = tuple(tensors[0].shape) if tensors else ()
            keys = tuple(self._key(tensor) for tensor in tensors)
            is_direct = not any(isinstance(item, list | tuple) for item in arguments)
            self._open.append((self._tick(), keys, is_direct, shape))

        def leave(module: nn.Module, _: tuple[Any, ...], output: object) -> None:
            begin, inputs, is_direct, in_shape = self._open.pop()
            tensor = output if isinstance(output, Tensor) else None
            self.calls.append(
                Call(
                    name=name,
                    module=module,
                    inputs=inputs,
                    is_direct=is_direct,
                    output=None if tensor is None else self._key(tensor),
                    in_shape=in_shape,
                    out_shape=() if tensor is None else tuple(tensor.shape),
                    begin=begin,
                    end=self._tick(),
                )
            )

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def _key(self, tensor: Tensor) -> TensorKey:
        self._alive.append(tensor)
        return id(tensor), tensor._version

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


def _tensors(arguments: Iterable[object]) -> Iterator[Tensor]:
    """Yield the tensors among arguments, also those in lists (DenseNet passes one)."""
    for item in arguments:
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, list | tuple):
            yield from _tensors(item)
