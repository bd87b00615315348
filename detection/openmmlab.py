"""Import this module before ``mmdet`` or ``mmcv.ops``: it makes them importable and quiet.

It puts the bridge in place, lets mmdet's registries be those that names are looked up in, and
allows what mmengine writes beside tensors into its checkpoints to be read without running code.
"""

from __future__ import annotations

import importlib
import logging
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detection import bridge
from detection.errors import CheckpointError

_log = logging.getLogger("mmengine")


def load_mmengine_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the weights of a checkpoint that mmdetection or mmengine wrote.

    Args:
        path: A file of ``torch.save``: with ``state_dict`` in it, or the weights alone.

    Returns:
        The tensors by name, on the CPU; a leading ``module.`` is gone.

    Raises:
        CheckpointError: There is no such file, it would need code to be run, or holds no weights.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(
            f"{path} cannot be read as weights alone: {str(error).splitlines()[0]}; save its "
            "state_dict in a file of its own"
        ) from error
    weights = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        held = sorted(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(f"{path} holds no state_dict of tensors; found {held}")
    return {name.removeprefix("module."): tensor for name, tensor in weights.items()}


def _import_quietly() -> None:
    """Import what warns when it is imported, once, where the warning can be named."""
    with warnings.catch_warnings():
        # mmcv says so to whoever imports the module, not only to who used the old path
        warnings.filterwarnings(
            "ignore", message="``MultiScaleDeformableAttention`` has been moved"
        )
        importlib.import_module("mmcv.cnn.bricks.transformer")


def _route_logs() -> None:
    """Let mmengine's messages go where ours go, instead of to the standard output."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_instance("convoy", logger_name=_log.name)
    logger.handlers.clear()
    logger.addHandler(_Forward())


class _Forward(logging.Handler):
    """Hands records of a logger that has no parents to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        if _log.isEnabledFor(record.levelno):
            _log.handle(record)


def _allow_in_checkpoints() -> None:
    """Allow the classes that mmengine's checkpoints hold beside tensors."""
    import numpy as np
    from mmengine.logging.history_buffer import HistoryBuffer

    multiarray: Any = importlib.import_module("numpy._core.multiarray")
    arrays = [multiarray._reconstruct, multiarray.scalar, np.ndarray, np.dtype]
    dtypes = [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64)]
    torch.serialization.add_safe_globals([HistoryBuffer, *arrays, *dtypes])


def _set_scope() -> None:
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")


bridge.install()
_import_quietly()
_route_logs()
_allow_in_checkpoints()
_set_scope()
