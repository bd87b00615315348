"""Read the tensors of a file that anybody may have made. Nothing in it is executed."""

from __future__ import annotations

import argparse
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from backbones.errors import WeightsError

_PARTS = ("ema", "network", "model_ema", "state_dict_ema", "model", "state_dict", "module")
"""Under which keys checkpoints keep weights; an average before what it is an average of."""
_PREFIXES = ("module.", "_orig_mod.")
"""What wrappers for several devices and compilers put before every name."""
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    argparse.Namespace,  # the command line that training scripts keep beside the weights
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64, np.bool_)),
    (_SCALAR, "numpy.core.multiarray.scalar"),  # numpy's name before its version 2
    (_SCALAR, "numpy._core.multiarray.scalar"),
]
"""Classes of data that checkpoints hold beside tensors, and that cannot do anything."""


@dataclass(frozen=True)
class Tensors:
    """What a file holds.

    Attributes:
        tensors: By name, without the prefixes of wrappers.
        part: Key of the checkpoint under which they stood, empty when at the top.
        metadata: Of a safetensors file.
    """

    tensors: Mapping[str, Tensor]
    part: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def read(file: Path) -> Tensors:
    """Read a file of weights: safetensors, or a PyTorch file with tensors only.

    Raises:
        WeightsError: It is not there, is broken, or holds more than data.
    """
    if not file.is_file():
        raise WeightsError(f"no file {file}; give a file of weights (.safetensors, .pt, .pth)")
    if file.suffix == ".safetensors" or _begins_as_safetensors(file):
        return _read_safetensors(file)
    return of_checkpoint(_read_pickle(file), name=str(file))


def _begins_as_safetensors(file: Path) -> bool:
    """Whether a header in braces follows eight bytes of its length."""
    with file.open("rb") as opened:
        return opened.read(9)[8:] == b"{"


def _read_safetensors(file: Path) -> Tensors:
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
            return Tensors(tensors, metadata=opened.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{file} cannot be read as safetensors ({error}); it is cut short or of another format"
        ) from error


def _read_pickle(file: Path) -> Any:
    # only the newer of PyTorch's two formats can be mapped into memory instead of read
    is_zip = zipfile.is_zipfile(file)
    try:
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other versions of the format
            return torch.load(file, map_location="cpu", weights_only=True, mmap=is_zip or None)
    except UnpicklingError as error:
        raise WeightsError(
            f"{file} is refused: it holds more than tensors{_culprit(error)}, and code from "
            "a file is never run; have its maker save the state dict alone, or safetensors"
        ) from error
    except (EOFError, OSError, RuntimeError, ValueError, KeyError, struct.error) as error:
        raise WeightsError(
            f"{file} cannot be read ({_first_line(error)}); it is cut short or no PyTorch file"
        ) from error


def _culprit(error: UnpicklingError) -> str:
    """Name what was refused; the rest of PyTorch's message advises to load it nevertheless."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    return f" ({found[1]})" if found else ""


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def of_checkpoint(loaded: object, *, name: str) -> Tensors:
    """Find the weights in what a checkpoint holds.

    Args:
        loaded: Names to tensors, or such a mapping under one of the usual keys.
        name: Of the file, for messages.

    Raises:
        WeightsError: There are none.
    """
    part = ""
    if isinstance(loaded, Mapping):
        part = next((key for key in _PARTS if isinstance(loaded.get(key), Mapping)), "")
    found = loaded[part] if part and isinstance(loaded, Mapping) else loaded
    if (
        not isinstance(found, Mapping)
        or not found
        or not all(isinstance(value, Tensor) for value in found.values())
    ):
        raise WeightsError(
            f"{name} holds no weights: expected names with tensors, at the top or under one of "
            f"{', '.join(_PARTS)}"
        )
    return Tensors(_without_prefix({str(key): value for key, value in found.items()}), part)


def _without_prefix(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
