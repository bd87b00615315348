"""Random draws that depend on what is drawn for, never on who draws or when."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_for(*parts: int | str) -> int:
    """Return a seed in [0, 2**63) that depends on all parts.

    Args:
        parts: Such as ``(seed, epoch, sample index, "augment")``.
    """
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1


def start(seed: int) -> None:
    """Let the generators of Python, NumPy and torch (CPU) start from `seed`."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Let those generators go on after the block as if nothing had been drawn in it."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Draw from `seed` inside; afterwards the generators go on as before."""
    with generators_kept():
        start(seed)
        yield
