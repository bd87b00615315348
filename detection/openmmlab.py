"""Import this module before ``mmdet`` or ``mmcv.ops``: it makes them importable and quiet.

It puts the bridge in place, lets mmdet's registries be those that names are looked up in, and
sends mmengine's messages where ours go. Also here: how its checkpoints are read without running
code of theirs.
"""

from __future__ import annotations

import importlib
import logging
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones import weights_file
from detection import bridge

_log = logging.getLogger("mmengine")


def load_mmengine_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the weights of a checkpoint that mmdetection or mmengine wrote.

    Args:
        path: A file of ``torch.save``: with ``state_dict`` in it, or the weights alone.

    Returns:
        The tensors by name, on the CPU; a leading ``module.`` is gone.

    Raises:
        WeightsError: There is no such file, it would need code to be run, or holds no weights.
    """
    with torch.serialization.safe_globals(_beside_weights()):
        return dict(weights_file.read(path).tensors)


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
    # it tells how each layer got its weights, which would fill the log of a run
    _log.setLevel(logging.WARNING)


class _Forward(logging.Handler):
    """Hands records of a logger that has no parents to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        if _log.isEnabledFor(record.levelno):
            _log.handle(record)


def _beside_weights() -> list[Any]:
    """Return what mmengine's checkpoints hold and others do not: histories of losses."""
    import numpy as np
    from mmengine.logging.history_buffer import HistoryBuffer

    def statistic(owner: type, name: str) -> Callable[..., Any]:
        # a history names its methods by getattr, which could name anything else
        if owner is not HistoryBuffer or name.startswith("_"):
            raise pickle.UnpicklingError(f"GLOBAL getattr({owner!r},{name!r})")
        method: Callable[..., Any] = getattr(HistoryBuffer, name)
        return method

    rebuild = np.zeros(0).__reduce__()[0]
    # the same function under NumPy's name before its version 2 and since
    names = [f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")]
    arrays = [np.ndarray, *((rebuild, name) for name in names)]
    return [HistoryBuffer, (statistic, "builtins.getattr"), *arrays]


def _set_scope() -> None:
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")


bridge.install()
_import_quietly()
_route_logs()
_set_scope()
