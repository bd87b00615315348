"""Weights of whole detectors in files: ours, and those of mmdetection's model zoo."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backbones.errors import WeightsError
from backbones.release import own_state
from detection.openmmlab import load_mmengine_checkpoint

_HEADS = ("rpn_head.", "roi_head.")
"""Begin names that detectors have and classification networks have not."""
_OURS = "backbone.pyramid.network."
_THEIRS = "backbone."
"""What stands before the names of a backbone here, and in mmdetection's own ResNets, whose names
below it are those of timm and torchvision."""
_COUNTER = "num_batches_tracked"
_SHOWN = 5


def read(file: Path) -> dict[str, Tensor] | None:
    """Read the weights of a detector.

    Args:
        file: safetensors, or a checkpoint of PyTorch, mmengine or mmdetection.

    Returns:
        Tensors under our names; None when they are of something else, such as a classifier.

    Raises:
        WeightsError: It is not there, is broken, or holds more than data.
    """
    tensors = load_mmengine_checkpoint(file)
    if not any(name.startswith(_HEADS) for name in tensors):
        return None
    return {_our_name(name): tensor for name, tensor in tensors.items()}


def require_fit(detector: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Refuse the weights of another detector.

    Args:
        detector: As `make_detector` made it; may be on the `meta` device.
        weights: As `read` returns them; a tensor that several layers share may have all its names.

    Raises:
        WeightsError: They do not fit; names some of what does not.
    """
    state, own = detector.state_dict(), own_state(detector)
    wrong = [
        *(f"{name} is missing" for name in own if name not in weights and _COUNTER not in name),
        *(f"{name} is not known" for name in weights if name not in state),
        *(
            f"{name} is {tuple(weights[name].shape)}, not {tuple(tensor.shape)}"
            for name, tensor in own.items()
            if name in weights and weights[name].shape != tensor.shape
        ),
    ]
    if wrong:
        shown = "; ".join(wrong[:_SHOWN])
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise WeightsError(
            f"the weights are of another detector, backbone or set of categories: {shown}{more}; "
            "start from weights of the backbone alone, such as those of the run that trained it"
        )


@torch.no_grad()
def fill(detector: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Fill a detector with weights: all of it, or nothing.

    Args:
        detector: As `make_detector` made it.
        weights: As `read` returns them.

    Raises:
        WeightsError: They do not fit; names some of what does not.
    """
    require_fit(detector, weights)
    for name, tensor in own_state(detector).items():
        if name in weights:
            tensor.copy_(weights[name])


def save(detector: nn.Module, file: Path, *, metadata: Mapping[str, str]) -> None:
    """Write a detector's weights as safetensors, each tensor once.

    Args:
        detector: As `make_detector` made it.
        file: Written aside and renamed.
        metadata: What it is, for people and programs.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in own_state(detector).items()}
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        save_file(tensors, aside, metadata={"format": "pt", **metadata})
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def _our_name(name: str) -> str:
    is_theirs = name.startswith(_THEIRS) and not name.startswith("backbone.pyramid.")
    return f"{_OURS}{name.removeprefix(_THEIRS)}" if is_theirs else name
