"""``mmcv._ext`` where none was compiled: torchvision's operators under mmcv's names.

mmcv's wheels with their extension end years before today's torch, and its sources do not compile
with it. mmcv-lite is the same package without the extension, and nearly everything of mmdetection
imports ``mmcv.ops``, which asks for it. What Mask R-CNN and Faster R-CNN call of it exists in
torchvision, too; see `detection.ops`.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import logging
import sys

EXTENSION = "mmcv._ext"

_log = logging.getLogger(__name__)


def install() -> None:
    """Let ``mmcv._ext`` be torchvision's operators, unless a compiled one can be imported.

    Does nothing when one of the two is in place. Does not import mmcv.
    """
    if EXTENSION in sys.modules or _compiled():
        return
    # A module of its own, found at its own place: mmengine takes the extension for installed when
    # its spec has a loader.
    sys.modules[EXTENSION] = importlib.import_module("detection.ops.extension")


def compiled() -> bool:
    """Say whether mmcv's own extension is what ``mmcv._ext`` is, or would be after `install`."""
    if module := sys.modules.get(EXTENSION):
        return module.__name__ == EXTENSION
    return _compiled()


def _compiled() -> bool:
    """Find and import the extension that lies in mmcv's folder."""
    package = importlib.util.find_spec("mmcv")
    if package is None or package.submodule_search_locations is None:
        return False
    found = importlib.machinery.PathFinder.find_spec(EXTENSION, package.submodule_search_locations)
    if found is None:
        return False
    try:
        importlib.import_module(EXTENSION)
    except (ImportError, OSError) as error:
        # symbols of another torch, a CUDA library that is not there
        _log.warning(
            "mmcv's extension %s cannot be imported (%s); torchvision's operators take its place",
            found.origin,
            error,
        )
        return False
    return True
