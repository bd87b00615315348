"""Which norm follows a layer, and which activation follows that, with nothing else in between.

Read from one pass: a tensor is told by object and version, because what is done in place keeps the
object, and every function that takes it is a use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

_Key = tuple[int, int]
_NOTHING: _Key = (0, 0)


@dataclass(frozen=True)
class Followers:
    """Paths of what follows a layer, empty where nothing of the kind does."""

    norm: str = ""
    act: str = ""


def followers(
    network: nn.Module,
    *,
    image_size: int,
    layer: Callable[[nn.Module], bool],
    norm: Callable[[nn.Module], bool],
    act: Callable[[nn.Module], bool],
) -> Mapping[str, Followers]:
    """Run a network once and see what follows its layers.

    Args:
        network: In the mode in which it is; not on the `meta` device.
        image_size: Side of the square input in pixels.
        layer: Whether a module is a layer.
        norm: Whether it is a norm.
        act: Whether it is an activation.

    Returns:
        Path of each layer that ran once to what alone uses its output: a norm and an activation
        that alone uses the norm's, or an activation right away. What ran several times, or has
        several paths, is left out.
    """
    trace = _trace(network, image_size, lambda m: layer(m) or norm(m) or act(m))
    norms = {source: path for path, source in trace.sources(norm).items()}
    acts = {source: path for path, source in trace.sources(act).items()}
    found = {}
    for path, output in trace.outputs(layer).items():
        norm_path = norms.get(output, "")
        last = trace.made[norm_path] if norm_path else output
        found[path] = Followers(norm_path, acts.get(last, ""))
    return found


def called(network: nn.Module, *, image_size: int, kind: type[nn.Module]) -> list[str]:
    """Return the paths of modules of exactly this type that one pass calls, outer ones first."""
    trace = _trace(network, image_size, lambda module: type(module) is kind)
    return [path for path in trace.modules if trace.calls[path] == 1]


class _Trace(TorchFunctionMode):
    """Counts the uses of every tensor and holds them alive, so that no identity comes twice."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: Counter[_Key] = Counter()
        self.calls: Counter[str] = Counter()
        self.taken: dict[str, _Key] = {}
        self.made: dict[str, _Key] = {}
        self.modules: dict[str, nn.Module] = {}
        self._alive: list[object] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Iterable[Any] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        used = self.keys((args, given))
        result = func(*args, **given)
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            self.uses.update(used)
        return result

    def keys(self, tensors: object) -> list[_Key]:
        """Tell every tensor in a structure."""
        leaves = [leaf for leaf in tree_leaves(tensors) if isinstance(leaf, Tensor)]
        self._alive.extend(leaves)
        return [(id(leaf), leaf._version) for leaf in leaves]

    def watch(self, path: str, module: nn.Module) -> list[Any]:
        """Note what a module takes and makes."""
        self.modules[path] = module

        def enter(_: nn.Module, taken: tuple[Any, ...]) -> None:
            self.calls[path] += 1
            self.taken[path] = next(iter(self.keys(taken)), _NOTHING)

        def leave(_: nn.Module, taken: tuple[Any, ...], made: object) -> None:
            del taken
            if isinstance(made, Tensor):
                (self.made[path],) = self.keys(made)
                if self.made[path] != self.taken[path]:
                    self.uses[self.made[path]] = 0  # what the module did with it is no use

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def outputs(self, kind: Callable[[nn.Module], bool]) -> dict[str, _Key]:
        """Return what the modules of a kind make, of those that ran once."""
        return {p: made for p, made in self.made.items() if self._once(p) and kind(self.modules[p])}

    def sources(self, kind: Callable[[nn.Module], bool]) -> dict[str, _Key]:
        """Return what the modules of a kind take that nothing else uses."""
        once = (p for p in self.outputs(kind) if self.uses[self.taken[p]] == 1)
        return {path: self.taken[path] for path in once}

    def _once(self, path: str) -> bool:
        return self.calls[path] == 1


def _trace(network: nn.Module, image_size: int, wanted: Callable[[nn.Module], bool]) -> _Trace:
    paths = Counter(id(m) for _, m in network.named_modules(remove_duplicate=False))
    first = next(network.parameters())
    image = torch.zeros(1, 3, image_size, image_size, device=first.device, dtype=first.dtype)
    trace = _Trace()
    handles = [
        handle
        for path, module in network.named_modules()
        if wanted(module) and paths[id(module)] == 1
        for handle in trace.watch(path, module)
    ]
    try:
        with torch.inference_mode(False), torch.no_grad(), trace:
            trace.uses.update(trace.keys(network(image)))
    finally:
        for handle in handles:
            handle.remove()
    return trace
