"""Writes binary files as those of CIFAR, from pixels that a test knows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
NAMES_10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
Record = tuple[int, bytes]
"""Label, and the red, green and blue planes of 32 x 32."""


def noise(label: int, *, seed: int) -> Record:
    return label, random.Random(seed).randbytes(3072)


def write_cifar10(
    folder: Path,
    *,
    train: Sequence[Record],
    test: Sequence[Record],
    names: Sequence[str] = NAMES_10,
) -> Path:
    """Deal the training images to five batches in turn."""
    folder.mkdir(parents=True)
    for number, batch in enumerate(BATCHES):
        _write(folder / f"{batch}.bin", train[number::5], coarse=b"")
    _write(folder / "test_batch.bin", test, coarse=b"")
    (folder / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    return folder


def write_cifar100(
    folder: Path, *, train: Sequence[Record], test: Sequence[Record], names: Sequence[str]
) -> Path:
    """Write a coarse label of 19 before each fine one."""
    folder.mkdir(parents=True)
    _write(folder / "train.bin", train, coarse=b"\x13")
    _write(folder / "test.bin", test, coarse=b"\x13")
    (folder / "fine_label_names.txt").write_text("\n".join(names) + "\n")
    return folder


def small_cifar10(folder: Path, *, each: int = 3) -> Path:
    """Write `each` training images and one test image of each class."""
    train = [noise(label, seed=100 * label + n) for n in range(each) for label in range(10)]
    return write_cifar10(
        folder, train=train, test=[noise(label, seed=9000 + label) for label in range(10)]
    )


def _write(file: Path, records: Sequence[Record], *, coarse: bytes) -> None:
    file.write_bytes(b"".join(coarse + bytes([label]) + pixels for label, pixels in records))
