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


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Let the generators of Python, NumPy and torch (CPU) start from `seed` inside.

    Afterwards they go on as before.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
