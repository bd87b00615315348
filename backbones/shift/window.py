"""Shortcut shift: a residual connection that costs no time, as its place is reserved beforehand.

AddressNet (He et al., WACV 2019, arXiv 1809.08458) says only that room is allocated in advance; the
form is *our reading*. A block leaves its input where it lies and writes its own channels behind it;
its output is a window on both, which has moved on by as many channels, so that the oldest drop out:

    y = concat(the last K channels of x, the F fresh ones).

So the blocks of a stage slide a window over one piece of memory. With gradients recorded it is a
concatenation. Shape suffixes: N images, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ATTRIBUTE = "_convoy_room"


def shortcut_shift(x: Tensor, fresh: Tensor) -> Tensor:
    """Say what the primitive means: drop the oldest channels, append the fresh ones. Copies.

    Args:
        x: (N, C, H, W).
        fresh: (N, F, H, W), F at most C.

    Returns:
        (N, C, H, W).
    """
    return torch.cat((x[:, fresh.shape[1] :], fresh), dim=1)


class _Room:
    """Space behind a map, in its own memory, for one later map to go on in."""

    def __init__(self, buffer_CN: Tensor, end: int) -> None:
        self.buffer_CN = buffer_CN
        self.end = end
        self._free = [True]

    def claim(self, channels: int) -> bool:
        """Take so many channels of it; only the first who asks may have them."""
        if self.end + channels > self.buffer_CN.shape[0]:
            return False
        try:
            self._free.pop()  # one step, so that of two threads one gets it
        except IndexError:
            return False
        return True


def slide(x: Tensor, *, keep: int, fresh: int, ahead: int = 0) -> tuple[Tensor, Tensor]:
    """Move a window on by some channels, which are to be written.

    What is kept is copied only where no room was reserved behind `x`. Without gradients only.

    Args:
        x: (N, C, H, W), C at least `keep`.
        keep: Of its last channels.
        fresh: Channels to be written behind them.
        ahead: Channels to reserve for later windows where room is made anew.

    Returns:
        The window, (N, keep + fresh, H, W), and its last channels, (N, fresh, H, W).
    """
    room = getattr(x, _ATTRIBUTE, None)
    if not (isinstance(room, _Room) and keep <= x.shape[1] and room.claim(fresh)):
        buffer_CN = x.new_empty(keep + fresh + ahead, x.shape[0], *x.shape[2:])
        buffer_CN[:keep].copy_(x[:, x.shape[1] - keep :].transpose(0, 1))
        room = _Room(buffer_CN, keep)
    end = room.end + fresh
    window = room.buffer_CN[room.end - keep : end].transpose(0, 1)
    setattr(window, _ATTRIBUTE, _Room(room.buffer_CN, end))
    return window, room.buffer_CN[room.end : end].transpose(0, 1)
