"""The configs that mmdet brings along, found without importing it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from detection.errors import DetectionError

if TYPE_CHECKING:
    from mmengine.config import ConfigDict


def config_file(name: str) -> Path:
    """Return a config file of the installed mmdet.

    Args:
        name: Path below its folder of configs, such as ``_base_/schedules/schedule_1x.py``.

    Raises:
        DetectionError: mmdet is not installed, or its release has no such file.
    """
    package = importlib.util.find_spec("mmdet")
    if package is None or not package.submodule_search_locations:
        raise DetectionError("mmdet is not installed; `pip install mmdet==3.3.0` would do")
    file = Path(package.submodule_search_locations[0]) / ".mim" / "configs" / name
    if not file.is_file():
        raise DetectionError(f"the installed mmdet has no config {name}; 3.3.0 has it")
    return file


def load_config(name: str) -> ConfigDict:
    """Return what a config file of the installed mmdet says, its base files included.

    Args:
        name: As for `config_file`.

    Returns:
        A copy that the caller may change.
    """
    from mmengine.config import Config

    return Config.fromfile(config_file(name))._cfg_dict
