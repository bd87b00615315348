"""A row of latencies: the figures of one protocol on one device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jobs.benchmark import NO_DETECTOR, BenchmarkSpec
from jobs.benchmark.timing import Paired, ratio_interval
from jobs.job import Json

_MEASURED = (
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "mean_ms",
    "throughput_ips",
    "peak_memory_mib",
    "plain_p50_ms",
    "ratio",
    "ratio_low",
    "ratio_high",
)


def protocol(spec: BenchmarkSpec, *, device: str, part: str = "") -> str:
    """Return the protocol in a few words: ``cpu fp32 nchw eager b1 224px 1 thread``.

    Of a detector: ``cuda fp32 nchw eager b1 800x1280px mask_rcnn``, and ``... backbone`` for that
    part of it.
    """
    words = [device.partition(":")[0], spec.precision, spec.memory_format, spec.engine]
    words += [f"b{spec.batch}", f"{_size(spec)}px"]
    if device == "cpu":
        words.append(f"{spec.threads} thread{'s' if spec.threads > 1 else ''}")
    if spec.detector != NO_DETECTOR:
        words += [spec.detector, *_changes(spec), part]
    return " ".join(filter(None, words))


def protocol_key(spec: BenchmarkSpec, *, device: str, part: str = "") -> dict[str, Json]:
    """Return what must be equal for two latencies to be compared, beside the device's name."""
    plain: dict[str, Json] = {
        "device": device.partition(":")[0],
        "precision": spec.precision,
        "memory_format": spec.memory_format,
        "engine": spec.engine,
        "batch": spec.batch,
        "image_size": _size(spec),
        "classes": spec.classes,
        "threads": spec.threads if device == "cpu" else None,
    }
    if spec.detector == NO_DETECTOR:
        return plain
    return {**plain, "detector": spec.detector, "part": part, "changes": _changes(spec)}


def _size(spec: BenchmarkSpec) -> int | str:
    height, width = spec.height_width
    return height if spec.detector == NO_DETECTOR else f"{height}x{width}"


def _changes(spec: BenchmarkSpec) -> list[str]:
    """Return in what the detector is not mmdet's: ``proposals=300``."""
    changes = [f"{name}={value}" for name, value in spec.sizes.changed.items()]
    return [*changes, "output_norms"] if spec.output_norms else changes


def measured(paired: Paired, *, batch: int, seed: int) -> dict[str, float]:
    """Return the figures of a row.

    Args:
        paired: Times of the backbone (first) and of the plain network (second).
        batch: Images of a pass.
        seed: Of the bootstrap.
    """
    p50_ms, p90_ms, p99_ms = np.percentile(paired.first, [50, 90, 99]).tolist()
    plain_p50_ms = float(np.median(paired.second))
    low, high = ratio_interval(paired, seed=seed)
    mean_ms = float(paired.first.mean())
    return {
        "p50_ms": p50_ms,
        "p90_ms": p90_ms,
        "p99_ms": p99_ms,
        "mean_ms": mean_ms,
        "throughput_ips": 1000 * batch / mean_ms,
        "plain_p50_ms": plain_p50_ms,
        "ratio": p50_ms / plain_p50_ms,
        "ratio_low": low,
        "ratio_high": high,
    }


def make_row(
    spec: BenchmarkSpec,
    *,
    part: str,
    device: str,
    device_name: str,
    figures: Mapping[str, float],
    repeats: int,
    settled: bool,
    notes: Sequence[str],
) -> dict[str, Json]:
    """Return a row; figures that could not be had are None."""
    return {
        "device": device_name,
        "protocol": protocol(spec, device=device, part=part),
        "protocol_key": protocol_key(spec, device=device, part=part),
        "part": part,
        "batch": spec.batch,
        **{name: figures.get(name) for name in _MEASURED},
        "repeats": repeats,
        "settled": settled,
        "notes": list(notes),
    }
