"""Parts of a split that stay the same for every seed and every order of files. Light."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from jobs.data.imagefolder import Sample


def divide(
    samples: Sequence[Sample], *, pct: float, purpose: str
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Cut samples in two, class by class, by a hash of their ids.

    Args:
        samples: What is cut.
        pct: Share of each class that the first part gets, in percent; at least one image, unless
            it is 0.
        purpose: Cuts for different purposes do not follow each other.

    Returns:
        The first part and the rest, both in the order of `samples`.
    """
    members: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        members[sample.label].append(sample)
    first: set[Sample] = set()
    for group in members.values():
        count = max(round(len(group) * pct / 100), 1) if pct else 0
        group.sort(key=lambda sample: hashlib.sha256(f"{purpose}/{sample.id}".encode()).digest())
        first.update(group[:count])
    return (
        tuple(sample for sample in samples if sample in first),
        tuple(sample for sample in samples if sample not in first),
    )
