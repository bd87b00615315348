"""How figures are written for people: units, digits, spans of time."""

from __future__ import annotations

import re
from datetime import datetime

from convoy.durations import span_text
from convoy.leaderboard.measures import TASKS

_MARKED = re.compile(r"[*_$~\[\]<>#|:{}]")

TIMES = "\u00d7"

_LABELS = {
    "best_epoch": "Best epoch",
    "train_loss": "Training loss",
    "val_loss": "Validation loss",
    "seconds_total": "Time in all",
    "seconds_in_steps": "Time in steps",
    "lr": "Learning rate",
    "images_per_s": "Images per second",
    "p50_ms": "Latency p50",
    "ratio": "Latency ratio",
    "params": "Parameters",
    "madds": "Multiply-adds",
    "madds_assembly": "Of them weight assembly",
    "backbone_params": "Parameters of the backbone",
    "backbone_madds": "Multiply-adds of the backbone",
    "cost_size": "Multiply-adds are for",
    "dataset": "Data set",
    "dataset_fingerprint": "Data set fingerprint",
    "initial": "Initial weights",
    "train_samples_seen": "Training samples seen",
    "ema": "EMA weights",
    "train_images": "Training images",
    "val_images": "Validation images",
    "train_pct": "Share of training images",
    "holdout_pct": "Share held out",
    "seconds_loading": "Time loading",
}
_MEASURES = {one.score: one for task in TASKS.values() for one in task.measures}
_OF_MEASURES = (("val_", "Validation"), ("best_", "Best"))
"""What a score's name may begin with, and what is said instead."""


def label(name: str) -> str:
    """Return the title of a score, fact or series, its unit left out."""
    if name in _MEASURES:
        return _MEASURES[name].title
    for prefix, word in _OF_MEASURES:
        if measure := _MEASURES.get(name.removeprefix(prefix)):
            return f"{word} {measure.word}"
    bare = name
    for suffix in ("_pct", "_ms", "_mib", "_s"):
        bare = bare.removesuffix(suffix)
    return _LABELS.get(name, bare.replace("_", " ").capitalize())


def value(name: str, number: float) -> str:
    """Write a figure with the unit that its name carries."""
    if name == "crop_pct":  # timm's name for a share of the image's side
        return plain(number)
    if name.endswith("_pct"):
        return f"{number:.2f} %"
    if name.endswith("_ms"):
        return f"{milliseconds(number)} ms"
    if name.endswith("_mib"):
        return f"{number:,.1f} MiB"
    if name.startswith("seconds") or (name.endswith("_s") and "_per_" not in name):
        return span(number)
    if name.removeprefix("backbone_") in {"params", "madds", "madds_assembly"}:
        return millions(number)
    if name == "ratio" or name.startswith("ratio_"):
        return f"{number:.2f}{TIMES}"
    return plain(number)


def plain(number: float) -> str:
    """Write a number with four significant digits, whole ones in full."""
    if float(number).is_integer() and abs(number) < 1e15:
        return f"{int(number):,}"
    return f"{number:.4g}"


def millions(number: float) -> str:
    """Write a count in decimal millions or billions, with as many digits as papers print."""
    if number >= 1e10:
        return f"{number / 1e9:,.2f} G"
    return f"{number / 1e6:,.2f} M" if number >= 1e4 else f"{int(number):,}"


def milliseconds(number: float) -> str:
    """Write milliseconds with three significant digits."""
    return f"{number:,.0f}" if number >= 100 else f"{number:#.3g}"


def span(seconds: float) -> str:
    """Write a span of time; below ten seconds with a decimal."""
    return f"{seconds:.1f} s" if 0 <= seconds < 10 else span_text(seconds)


def moment(when: datetime | None) -> str:
    """Write a moment, in UTC as it is stored; empty when there is none."""
    return "" if when is None else f"{when:%Y-%m-%d %H:%M:%S} UTC"


def literal(text: str) -> str:
    """Write text so that Markdown shows it as it is: line by line, only `...` stays code."""
    parts = text.strip().split("`")
    if len(parts) % 2 == 0:  # an odd number of backticks: none of them means code
        parts = [text.strip().replace("`", "\\`")]
    parts[::2] = [_MARKED.sub(r"\\\g<0>", part).replace("\n", "  \n") for part in parts[::2]]
    return "`".join(parts)
