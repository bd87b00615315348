"""Calls to the store that are made again while it is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from convoy.errors import StoreAwayError

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_PAUSE_S = 10.0


def insist(call: Callable[[], T], *, patience_s: float = 600.0) -> T:
    """Return what a call to the store returns, trying again while the store is away.

    Args:
        call: What to do; it must bear being done again.
        patience_s: Seconds after which the store is taken for lost.

    Raises:
        StoreAwayError: It stayed away for that long.
    """
    pause_s = 0.2
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            return call()
        except StoreAwayError as error:
            if time.monotonic() + pause_s > give_up_at:
                raise
            logger.warning("the store is away, trying again: %s", error)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
