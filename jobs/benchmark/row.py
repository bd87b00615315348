"""A row of latencies: the figures of one protocol on one device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jobs.benchmark import BenchmarkSpec
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


def protocol(spec: BenchmarkSpec, *, device: str) -> str:
    """Return the protocol in a few words: ``cpu fp32 nchw eager b1 224px 1 thread``."""
    words = [device.partition(":")[0], spec.precision, spec.memory_format, spec.engine]
    words += [f"b{spec.batch}", f"{spec.image_size}px"]
    if device == "cpu":
        words.append(f"{spec.threads} thread{'s' if spec.threads > 1 else ''}")
    return " ".join(words)


def protocol_key(spec: BenchmarkSpec, *, device: str) -> dict[str, Json]:
    """Return what must be equal for two latencies to be compared, beside the device's name."""
    return {
        "device": device.partition(":")[0],
        "precision": spec.precision,
        "memory_format": spec.memory_format,
        "engine": spec.engine,
        "batch": spec.batch,
        "image_size": spec.image_size,
        "classes": spec.classes,
        "threads": spec.threads if device == "cpu" else None,
    }


def measured(paired: Paired, *, batch: int, peak_memory_mib: float, seed: int) -> dict[str, float]:
    """Return the figures of a row.

    Args:
        paired: Times of the backbone (first) and of the plain network (second).
        batch: Images of a pass.
        peak_memory_mib: Of the backbone alone.
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
        "peak_memory_mib": peak_memory_mib,
        "plain_p50_ms": plain_p50_ms,
        "ratio": p50_ms / plain_p50_ms,
        "ratio_low": low,
        "ratio_high": high,
    }


def make_row(
    spec: BenchmarkSpec,
    *,
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
        "protocol": protocol(spec, device=device),
        "protocol_key": protocol_key(spec, device=device),
        "batch": spec.batch,
        **{name: figures.get(name) for name in _MEASURED},
        "repeats": repeats,
        "settled": settled,
        "notes": list(notes),
    }
