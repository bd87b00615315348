"""What a method is, and where methods are found.

A method is a folder under ``methods/`` (or a package elsewhere, named by an entry point of the
group
``convoy.methods``). Its ``__init__.py`` holds `METHOD` and must not import torch; its
``operator.py`` holds
``plan(sites, settings)``, which is loaded only when a network is really built.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from backbones import methods
from backbones.errors import UnknownMethodError, near
from backbones.sites import Site, Slot

if TYPE_CHECKING:
    from torch import nn

    from backbones.table import Table

ENTRY_POINTS = "convoy.methods"


class MethodSettings(BaseModel):
    """Base of every method's settings: frozen, and nothing unknown is let in."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def every_site(site: Site, settings: Any) -> bool:
    """Take each site that offers the method's slot."""
    del site, settings
    return True


@dataclass(frozen=True)
class Method:
    """The light half of a method: everything that can be known without torch.

    Attributes:
        title: Name as the paper has it.
        family: ``dynamic``, ``static``, ``attention`` or ``plain``.
        slot: What the method puts in place (see `site.Slot`).
        settings: The settings model; its defaults are the released choices.
        arxiv: arXiv id of the paper, or empty.
        venue: Authors, venue and year in a few words.
        takes: Whether a site that offers `slot` is taken under these settings. Light, and the only
            place that knows it.
        needs: What it takes, in a few words for people, where its slot does not say enough
            (``inverted residual blocks``).
        presets: Network name to the settings that the paper uses on it where they differ from the
            defaults.
        narrow: Which of the taken sites are really taken, where that depends on all of them (the
            last blocks of a network, say). Light.
        check: Refuses settings that this set of taken sites cannot serve (raises SettingError).
            Light.
        tables: What is planned for the taken sites, for people to read (``platform describe
            --warehouses``). Light.
    """

    title: str
    family: Literal["plain", "dynamic", "static", "attention"]
    slot: Slot
    settings: type[MethodSettings] = MethodSettings
    arxiv: str = ""
    venue: str = ""
    takes: Callable[[Site, Any], bool] = every_site
    needs: str = ""
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    narrow: Callable[[Sequence[Site], Any], Sequence[Site]] | None = None
    check: Callable[[Sequence[Site], Any], None] | None = None
    tables: Callable[[Sequence[Site], Any], Sequence[Table]] | None = None


class Published(BaseModel):
    """A row that a paper or its release prints, with its own units, beside ours.

    Attributes:
        backbone: Canonical text.
        dataset: Such as ``imagenet1k``, ``cifar10``, ``coco2017``.
        task: ``classify``, or the detector (with a feature pyramid) in which the backbone stands;
            parameters and multiply-adds of a detector's row are those of the whole detector.
        params_m: Parameters in decimal millions as printed (or converted, see `note`).
        params_exact: Parameters of the official code when it is built; our count must equal it.
        madds_m: Multiply-adds in decimal millions in *our* convention, where they are known.
        printed: The cells as printed, with their unit, e.g. ``{"FLOPs": "4.14 G"}``.
        convention: How the source counted, when that is not ours.
        top1_pct: Top-1 accuracy in percent.
        top5_pct: Top-5 accuracy in percent.
        box_ap_pct: Average precision of boxes by COCO's rules, in percent (38.2).
        mask_ap_pct: The same of masks.
        epochs: Length of training.
        recipe: Name of the source's recipe.
        source: Where the row stands.
        note: Known differences, and why a count differs from the printed one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    dataset: str = "imagenet1k"
    task: Literal["classify", "mask_rcnn", "faster_rcnn", "retinanet"] = "classify"
    params_m: float | None = None
    params_exact: int | None = None
    madds_m: float | None = None
    printed: Mapping[str, str] = {}
    convention: str = ""
    top1_pct: float | None = None
    top5_pct: float | None = None
    box_ap_pct: float | None = None
    mask_ap_pct: float | None = None
    epochs: int | None = None
    recipe: str = ""
    source: str
    note: str = ""


Replacements = Mapping[str, "nn.Module"]
"""Site name to the module that goes there. One that wraps (see `build.Wraps`) may stand at any path
of the plain network, such as the block of a site."""

Plan = Callable[[Sequence[Site], Any], Replacements]


@cache
def modules() -> Mapping[str, str]:
    """Name every installed method and the module that holds it.

    Raises:
        UnknownMethodError: A method from elsewhere has the name of one that exists.
    """
    found = {
        info.name: f"{methods.__name__}.{info.name}"
        for info in pkgutil.iter_modules(methods.__path__)
        if info.ispkg
    }
    for point in entry_points(group=ENTRY_POINTS):
        if found.get(point.name, point.module) != point.module:
            raise UnknownMethodError(
                f"method {point.name!r} of {point.module} has the name of {found[point.name]}; "
                "rename the entry point"
            )
        found[point.name] = point.module
    return dict(sorted(found.items()))


def get(name: str) -> Method:
    """Return the light half of a method.

    Raises:
        UnknownMethodError: No method of that name is installed.
    """
    method = getattr(importlib.import_module(_module(name)), "METHOD", None)
    if not isinstance(method, Method):
        raise UnknownMethodError(f"{_module(name)} has no METHOD; see CONTRIBUTING.md, 'A method'")
    return method


def load_plan(name: str) -> Plan:
    """Return the heavy half of a method: ``plan`` of its ``operator.py``. Imports torch."""
    plan: Plan = importlib.import_module(f"{_module(name)}.operator").plan
    return plan


@cache
def published(name: str) -> tuple[Published, ...]:
    """Return the rows that the method's folder keeps, empty when it keeps none."""
    file = files(_module(name)).joinpath("published.json")
    if not file.is_file():
        return ()
    return tuple(Published.model_validate(row) for row in json.loads(file.read_text("utf-8")))


def _module(name: str) -> str:
    known = modules()
    if name not in known:
        raise UnknownMethodError(f"unknown method {name!r}; {near(name, known)}")
    return known[name]
