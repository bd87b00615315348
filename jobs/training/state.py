"""What a training run is made of, and its checkpoint: all of it, so that resuming is exact."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Optimizer

from jobs import device as devices
from jobs.device import Precision
from jobs.errors import JobError

FILE = "state.pt"

_SHOWN = 300
"""Characters of a foreign error that are told: it may name every tensor."""


@dataclass
class Progress:
    """How far the run is, and what it has found so far.

    Attributes:
        epoch: Epochs done and evaluated.
        step: Optimiser steps done in the epoch that follows; the data position.
        steps: Optimiser steps done in all.
        images: Training images seen in all.
        loss_sum: Sum over the steps of the present epoch of their mean loss.
        train_loss: Mean loss of the last whole epoch.
        scores: Of the last evaluation.
        best: Highest main score at any epoch's end, percent.
        best_epoch: Where that was, from 1.
        seconds_total: Time in `run`, over all attempts that led here.
        seconds_in_steps: Time in training steps.
        seconds_loading: Time spent waiting for images in training.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    images: int = 0
    loss_sum: float = 0.0
    train_loss: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    best: float = -1.0
    best_epoch: int = 0
    seconds_total: float = 0.0
    seconds_in_steps: float = 0.0
    seconds_loading: float = 0.0

    def count_step(self, *, images: int) -> None:
        """Count one optimiser step over `images` images."""
        self.step += 1
        self.steps += 1
        self.images += images

    def count_epoch(self, scores: Mapping[str, float], *, main: str) -> None:
        """Count an epoch that ended with these scores.

        Args:
            scores: Under the names that results use.
            main: The one by which epochs are compared; more is better.
        """
        self.train_loss = self.loss_sum / self.step
        self.epoch += 1
        self.step, self.loss_sum = 0, 0.0
        self.scores = dict(scores)
        if scores.get(main, -1.0) > self.best:
            self.best, self.best_epoch = scores[main], self.epoch

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Self:
        """Return the progress that a checkpoint holds, also one from when only top-1 was known."""
        former = {"best_top1_pct": "best"}
        return cls(**{former.get(name, name): value for name, value in saved.items()})

    @property
    def seconds(self) -> dict[str, float]:
        """Where the time went, under the names that results use."""
        return {
            "seconds_total": self.seconds_total,
            "seconds_in_steps": self.seconds_in_steps,
            "seconds_loading": self.seconds_loading,
        }


@dataclass
class Trained:
    """All that changes while training.

    Attributes:
        network: The network itself, not its parallel wrapper.
        optimiser: With its moments.
        scaler: Of half-precision losses; switched off otherwise.
        ema: Average of the weights, or None.
        progress: How far it is.
    """

    network: nn.Module
    optimiser: Optimizer
    scaler: torch.amp.GradScaler
    ema: ModelEmaV3 | None
    progress: Progress

    @classmethod
    def fresh(
        cls,
        network: nn.Module,
        optimiser: Optimizer,
        *,
        precision: Precision,
        device: str,
        ema: ModelEmaV3 | None = None,
    ) -> Self:
        """Begin a run: nothing is done yet."""
        kind = torch.device(device).type
        scaler = torch.amp.GradScaler(kind, enabled=precision == "fp16")
        return cls(network, optimiser, scaler, ema, Progress())

    @property
    def scored(self) -> nn.Module:
        """The network whose scores count."""
        return self.network if self.ema is None else self.ema.module


def write(trained: Trained, folder: Path, *, spec_hash: str) -> None:
    """Write a checkpoint into an empty folder.

    Args:
        trained: What is saved.
        folder: Where; the file is `FILE`.
        spec_hash: Of the spec that trains; only the same may go on from here.
    """
    state = {
        "spec": spec_hash,
        "network": trained.network.state_dict(),
        "ema": None if trained.ema is None else trained.ema.module.state_dict(),
        "optimiser": trained.optimiser.state_dict(),
        "scaler": trained.scaler.state_dict(),
        "progress": asdict(trained.progress),
        "random": _random_states(),
    }
    torch.save(state, folder / FILE)


def read(trained: Trained, folder: Path, *, spec_hash: str, device: str) -> None:
    """Put a checkpoint's state into what was freshly made.

    Args:
        trained: Receives it.
        folder: Of the checkpoint.
        spec_hash: Of the spec that goes on.
        device: Where the tensors belong.

    Raises:
        JobError: The checkpoint is of another spec.
    """
    state: Mapping[str, Any] = torch.load(folder / FILE, map_location=device, weights_only=True)
    if state["spec"] != spec_hash:
        raise JobError(
            f"checkpoint {folder} is of another spec (hash {state['spec']}, this one is "
            f"{spec_hash}); submit a new run, or start from its weights with initial=<file>"
        )
    trained.network.load_state_dict(state["network"])
    if trained.ema is not None:
        trained.ema.module.load_state_dict(state["ema"])
    trained.optimiser.load_state_dict(state["optimiser"])
    trained.scaler.load_state_dict(state["scaler"])
    trained.progress = Progress.of(state["progress"])
    _set_random_states(state["random"], device=device)


def read_scored(network: nn.Module, folder: Path, *, ema: bool) -> Progress:
    """Put the weights that a checkpoint's scores are about into a network, and nothing else.

    Args:
        network: Receives them; on the CPU.
        folder: Of the checkpoint.
        ema: Whether the run scores the average of its weights.

    Returns:
        How far the run was.

    Raises:
        JobError: There is no such file, or the weights are of another network.
    """
    with _explained(folder):
        state = _mapped(folder)
        network.load_state_dict(state["ema" if ema else "network"])
    return Progress.of(state["progress"])


def scored_weights(folder: Path, *, ema: bool = False) -> dict[str, Tensor]:
    """Return the weights that a checkpoint's scores are about, on the CPU.

    Args:
        folder: Of the checkpoint.
        ema: Whether the run scores the average of its weights.

    Raises:
        JobError: There is no such file, or it is none of ours.
    """
    with _explained(folder):
        weights: dict[str, Tensor] = _mapped(folder)["ema" if ema else "network"]
    return weights


def _mapped(folder: Path) -> Mapping[str, Any]:
    # mapped: moments and random states are not read
    state: Mapping[str, Any] = torch.load(
        folder / FILE, map_location="cpu", weights_only=True, mmap=True
    )
    return state


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:_SHOWN]
        raise JobError(
            f"the checkpoint {folder} cannot be read into this network: {reason}"
        ) from error


def _random_states() -> dict[str, Any]:
    """Return the generators' states of worker 0.

    The run's own draws are seeded for each micro-batch anew, on every worker; these are for code
    that draws beside them.
    """
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.array(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_random_states(states: Mapping[str, Any], *, device: str) -> None:
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    if devices.is_cuda(device) and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
