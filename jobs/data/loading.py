"""Images to batches: which samples a step sees, and who loads them.

A step of `batch_size` images is cut into micro-batches in an order that depends on (seed, epoch)
alone; worker ``r`` of ``w`` takes every w-th of them. So the same micro-batches are seen whatever
the number of workers, and any step can be started from.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from jobs.data.augmentation import Transform
from jobs.data.contents import Contents
from jobs.data.draws import generators_kept, seed_for, start
from jobs.data.imagefolder import Sample
from jobs.errors import DatasetError

Key = tuple[int, int]
"""Epoch from 0, and index of a sample."""

KEEP_DECODED_MIB = 512.0
"""Sets smaller than this once decoded stay in memory."""


class Images(Dataset[tuple[Tensor, int, int]]):
    """Images by (epoch, index): tensor, label and index.

    Args:
        contents: Where the bytes of the images are.
        samples: The images.
        transform: From image to tensor.
        seed: From which, with epoch and index, the transform's draws follow.
        keep: Whether decoded images stay in memory.
    """

    def __init__(
        self,
        contents: Contents,
        samples: Sequence[Sample],
        *,
        transform: Transform,
        seed: int = 0,
        keep: bool = False,
    ) -> None:
        self._contents = contents
        self.samples = samples
        self._transform = transform
        self._seed = seed
        self._kept: dict[int, Image.Image] | None = {} if keep else None

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.samples)

    def __getitem__(self, key: Key) -> tuple[Tensor, int, int]:
        """Return the (3, S, S) float32 image, its label and its index.

        Raises:
            DatasetError: The file is gone or was changed since it was checked.
        """
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[Key]) -> list[tuple[Tensor, int, int]]:
        """Return several at once, as loaders ask for them; the same as one by one."""
        # once a batch: keeping the generators' states takes longer than to crop a small image
        with generators_kept():
            return [self._transformed(epoch, index) for epoch, index in keys]

    def _transformed(self, epoch: int, index: int) -> tuple[Tensor, int, int]:
        image = self._image(index)
        start(seed_for("augment", self._seed, epoch, index))
        return self._transform(image), self.samples[index].label, index

    def _image(self, index: int) -> Image.Image:
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        path = self.samples[index].path
        try:
            with Image.open(io.BytesIO(self._contents.read(path))) as file:
                image = file.convert("RGB")
        except (OSError, DatasetError) as error:
            raise DatasetError(
                f"image {path} was sound when the data were checked and cannot be read now: {error}"
            ) from error
        if self._kept is not None:
            self._kept[index] = image
        return image


def epoch_order(count: int, *, seed: int, epoch: int) -> list[int]:
    """Return the order of `count` samples in an epoch; it depends on nothing else.

    Args:
        count: Number of samples.
        seed: The run's.
        epoch: From 0.
    """
    generator = np.random.Generator(np.random.PCG64(seed_for("order", seed, epoch)))
    order: list[int] = generator.permutation(count).tolist()
    return order


def alike_together(order: Sequence[int], kinds: Sequence[int], *, micro_batch: int) -> list[int]:
    """Return an order in which the samples of a micro-batch are of one kind, as far as that goes.

    Args:
        order: Indices of samples.
        kinds: Of each sample by index, such as whether it is wider than high.
        micro_batch: Samples that stand together; those of each kind that are left over come last.
    """
    made: list[int] = []
    waiting: dict[int, list[int]] = {}
    for index in order:
        fellows = waiting.setdefault(kinds[index], [])
        fellows.append(index)
        if len(fellows) == micro_batch:
            made.extend(fellows)
            fellows.clear()
    return made + [index for kind in sorted(waiting) for index in waiting[kind]]


@dataclass(frozen=True)
class Share:
    """The part of every step that one worker does.

    Attributes:
        batch_size: Images of a step, all workers together.
        micro_batch: Images of one forward pass.
        rank: Which worker, from 0.
        world_size: How many.
    """

    batch_size: int
    micro_batch: int
    rank: int = 0
    world_size: int = 1

    @property
    def chunks(self) -> int:
        """Micro-batches of a step, all workers together."""
        return self.batch_size // self.micro_batch

    def steps(self, count: int) -> int:
        """Return the steps of an epoch over `count` images; what is left over is dropped."""
        return count // self.batch_size


class MicroBatches(Sampler[list[Key]]):
    """Yields this worker's micro-batches of an epoch; `start` says where.

    Args:
        count: Number of samples.
        share: This worker's part.
        seed: The run's.
        kinds: Of each sample, where a micro-batch is to hold one kind (see `alike_together`).
    """

    def __init__(
        self, count: int, *, share: Share, seed: int, kinds: Sequence[int] | None = None
    ) -> None:
        self._count = count
        self._share = share
        self._seed = seed
        self._kinds = kinds
        self._epoch = 0
        self._step = 0

    def start(self, *, epoch: int, step: int) -> None:
        """Set what the next iteration yields: `epoch` from its step `step` on."""
        self._epoch, self._step = epoch, step

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield lists of keys, `micro_batch` each."""
        share = self._share
        order = self._order(self._epoch)
        for step in range(self._step, share.steps(self._count)):
            for chunk in range(share.rank, share.chunks, share.world_size):
                first = step * share.batch_size + chunk * share.micro_batch
                yield [(self._epoch, index) for index in order[first : first + share.micro_batch]]

    def __len__(self) -> int:
        """Return the micro-batches that are left of the epoch."""
        per_step = self._share.chunks // self._share.world_size
        return (self._share.steps(self._count) - self._step) * per_step

    def of_step(self, *, epoch: int, step: int) -> list[int]:
        """Return the samples of one step, those of all workers."""
        size = self._share.batch_size
        return self._order(epoch)[step * size : (step + 1) * size]

    def _order(self, epoch: int) -> list[int]:
        order = epoch_order(self._count, seed=self._seed, epoch=epoch)
        if self._kinds is None:
            return order
        return alike_together(order, self._kinds, micro_batch=self._share.micro_batch)


class InTurn(Sampler[list[Key]]):
    """Yields this worker's share of all samples in order, each once over all workers."""

    def __init__(self, count: int, *, batch: int, rank: int, world_size: int) -> None:
        self._keys = [(0, index) for index in range(rank, count, world_size)]
        self._batch = batch

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield lists of keys, the last one shorter."""
        for first in range(0, len(self._keys), self._batch):
            yield self._keys[first : first + self._batch]

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self._keys) // self._batch)


Batches = DataLoader[tuple[Tensor, int, int]]
"""Yields batches of images (N, 3, S, S), labels (N,) and sample indices (N,)."""


def make_loader(
    images: Images, batches: Sampler[list[Key]], *, processes: int, device: str
) -> Batches:
    """Return a loader of batches.

    Args:
        images: By (epoch, index).
        batches: Which of them stand together.
        processes: Loader processes; 0 loads in this one.
        device: Where the batches will go; for a GPU, memory is pinned.
    """
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=processes,
        persistent_workers=processes > 0,
        pin_memory=torch.device(device).type == "cuda",
    )
