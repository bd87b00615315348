"""The outermost calls of a forward pass, one after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from backbones.forward_trace import Call


class Chain:
    """The calls of a forward pass, and which of them stand in which."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._in_order = sorted(calls, key=lambda call: call.begin)
        self._inside: dict[int, list[Call]] = defaultdict(list)
        around: list[Call] = []
        for call in self._in_order:
            while around and around[-1].end < call.begin:
                around.pop()
            if around:
                self._inside[around[-1].begin].append(call)
            around.append(call)

    def __iter__(self) -> Iterator[Call]:
        """Yield the outermost calls up to the pooling, containers of several strides opened."""
        for call in self._opened(self._in_order[0]):
            if is_map(call.in_shape) and call.output is not None and not is_map(call.out_shape):
                return
            yield call

    def _opened(self, container: Call) -> Iterator[Call]:
        for call in self._inside[container.begin]:
            if self._inside[call.begin] and _halves_often(call):
                yield from self._opened(call)
            else:
                yield call

    def between(self, begin: int, end: int) -> list[Call]:
        """Return the outermost calls that lie in a span of time."""
        found: list[Call] = []
        for call in self._in_order:
            is_inside = bool(found) and call.begin < found[-1].end
            if call.begin > begin and call.end <= end and not is_inside:
                found.append(call)
        return found


def is_map(shape: tuple[int, ...]) -> bool:
    """Whether it is the shape of a map of more than one position."""
    return len(shape) == 4 and shape[2:] != (1, 1)


def _halves_often(call: Call) -> bool:
    """Whether the sides shrink to less than half, or something else than a map comes out."""
    if not is_map(call.in_shape) or not is_map(call.out_shape):
        return True
    return call.in_shape[2] > 2.5 * call.out_shape[2]
