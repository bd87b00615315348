"""Fills a store through its own methods, as submitters, a dispatcher and attempts would."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from convoy.records import Attempt, NewRun, Point, Run
from convoy.states import Failure, Outcome, Phase, Waiting
from convoy.store import Store
from jobs.job import Resources

PROTOCOL = "cpu fp32 nchw eager b1 32px 1 thread"
BATCHED = "cpu fp32 nchw eager b8 32px 1 thread"
DEVICE = "Test processor"
STEPS, EPOCHS = 200, 5
ENTRIES: Mapping[str, tuple[float, int, int, float, float]] = {
    "resnet18(stem=small)/conv": (97.1, 11_173_962, 140_256_256, 21.0, 1.0),
    "resnet18(stem=small)/eca": (97.6, 11_173_998, 140_281_344, 23.4, 1.11),
    "resnet18(stem=small)/se": (97.8, 11_261_002, 140_342_784, 24.1, 1.15),
    "resnet18(stem=small)/ghost": (95.9, 5_742_120, 72_117_248, 18.2, 0.87),
    "resnet18(stem=small)/kernel_warehouse(budget=4)": (98.3, 45_511_234, 150_993_024, 40.3, 1.92),
    "mobilenetv2_100(stem=small)/conv": (96.2, 2_236_682, 23_490_816, 14.9, 1.0),
}
"""Backbone to top-1 (%), parameters, multiply-adds, p50 (ms), ratio to plain."""

SPREAD = (-0.2, 0.0, 0.2)


def fill(store: Store) -> dict[str, int]:
    """Put a small study's worth of runs into an empty store.

    Returns:
        Number of one run of each sort: ``done``, ``resumed``, ``measured``,
        ``failed``, ``running``, ``queued``, ``cancelled``.
    """
    store_runs: dict[str, int] = {}
    term = lead(store)
    for backbone in ENTRIES:
        for seed in range(len(SPREAD)):
            store_runs["done"] = classify(store, term, backbone=backbone, seed=seed)
        store_runs["measured"] = benchmark(store, term, backbone=backbone)
    for backbone in list(ENTRIES)[:2]:
        classify(store, term, backbone=backbone, seed=0, recipe="digits_long", gain=0.9)
    store_runs["resumed"] = _resumed(store, term)
    store_runs["failed"] = _failed(store, term)
    store_runs["running"] = _running(store, term)
    store_runs["queued"] = _queued(store)
    cancelled = submit(store, backbone="resnet18(stem=small)/eca", seed=9)
    store_runs["cancelled"] = store.request_cancel(cancelled.id).id
    return store_runs


def lead(store: Store) -> int:
    """Lead as a dispatcher; return the term."""
    term = store.lead("desk", host="desk", pid=1, capacity={"cpus": 2}, lease_s=3600)
    assert term is not None
    return term


def classify(
    store: Store,
    term: int,
    *,
    backbone: str,
    seed: int,
    recipe: str = "digits_quick",
    gain: float = 0.0,
) -> int:
    """Train a backbone to the end; return the run's number."""
    top1_pct = ENTRIES[backbone][0] + SPREAD[seed] + gain
    run = submit(store, backbone=backbone, seed=seed, recipe=recipe)
    attempt = start(store, run, term)
    train(store, attempt, steps=range(1, STEPS + 1), top1_pct=top1_pct)
    finish(store, run, attempt, top1_pct=top1_pct)
    return run.id


def finish(store: Store, run: Run, attempt: Attempt, *, top1_pct: float) -> None:
    """Keep what a training run keeps, and end it well."""
    place = (run.id, attempt.number)
    store.add_checkpoint(*place, step=STEPS, path=f"runs/{run.id}/ckpt", size_mib=4.2)
    store.add_artifact(*place, name="series.csv", path="series.csv", size_mib=0.1)
    result = _result(run, top1_pct=top1_pct)
    store.end(*place, outcome=Outcome.SUCCEEDED, result=result)


def benchmark(store: Store, term: int, *, backbone: str) -> int:
    """Measure a backbone; return the run's number."""
    _, params, madds, p50, ratio = ENTRIES[backbone]
    run = submit(store, backbone=backbone, seed=0, recipe="", kind="benchmark")
    attempt = start(store, run, term)
    rows = [
        {
            "device": DEVICE,
            "protocol": protocol,
            "protocol_key": {"batch": batch},
            "batch": batch,
            "p50_ms": p50 * scale,
            "p90_ms": p50 * scale * 1.1,
            "p99_ms": p50 * scale * 1.3,
            "mean_ms": p50 * scale,
            "throughput_ips": 1000 * batch / (p50 * scale),
            "peak_memory_mib": params / 2**18,
            "plain_p50_ms": p50 * scale / ratio,
            "ratio": ratio,
            "ratio_low": ratio * 0.97,
            "ratio_high": ratio * 1.03,
            "repeats": 60,
            "settled": True,
            "notes": [],
        }
        for protocol, batch, scale in ((PROTOCOL, 1, 1.0), (BATCHED, 8, 6.0))
    ]
    facts = _costs(params, madds) | {"task": "benchmark"}
    result = {"scores": {"p50_ms": p50, "ratio": ratio}, "facts": facts, "rows": rows}
    store.end(run.id, attempt.number, outcome=Outcome.SUCCEEDED, result=result)
    return run.id


def _resumed(store: Store, term: int) -> int:
    run = submit(store, backbone="resnet18(stem=small)/se", seed=7)
    first = start(store, run, term)
    train(store, first, steps=range(1, 81), top1_pct=97.0)
    store.add_checkpoint(run.id, first.number, step=80, path="a/80", size_mib=4.2)
    store.end(
        run.id, first.number, outcome=Outcome.LOST, failure=Failure.NODE_LOST, error="lease ran out"
    )
    store.release(run.id, first.number)
    second = start(store, run, term)
    train(store, second, steps=range(81, 121), top1_pct=97.4)
    return run.id


def _failed(store: Store, term: int) -> int:
    run = submit(store, backbone="resnet18(stem=small)/conv", seed=5)
    attempt = start(store, run, term)
    train(store, attempt, steps=range(1, 31), top1_pct=40.0)
    store.end(
        run.id,
        attempt.number,
        outcome=Outcome.FAILED,
        failure=Failure.DIVERGED,
        error="loss is nan at step 31",
    )
    return run.id


def _running(store: Store, term: int) -> int:
    run = submit(store, backbone="resnet18(stem=small)/ghost", seed=4)
    attempt = start(store, run, term)
    train(store, attempt, steps=range(1, 90), top1_pct=95.0)
    return run.id


def _queued(store: Store) -> int:
    run = submit(store, backbone="convnext_tiny/conv", seed=0, cpus=64)
    store.explain_waiting({run.id: (Waiting.NEVER_FITS, "needs 64 cores, the largest node has 2")})
    return run.id


def submit(
    store: Store,
    *,
    backbone: str,
    seed: int,
    recipe: str = "digits_quick",
    kind: str = "classify",
    cpus: float = 1.0,
) -> Run:
    """Submit a run."""
    spec: dict[str, Any] = {"backbone": backbone, "seed": seed}
    if kind == "classify":
        spec |= {"data": "digits", "recipe": {"name": recipe, "epochs": EPOCHS}}
    new = NewRun(
        kind=kind,
        spec=spec,
        spec_hash=f"{abs(hash((backbone, seed, recipe, kind))):016x}"[:16],
        resources=Resources(cpus=cpus),
        owner="ada",
        backbone=backbone,
        data="digits" if kind == "classify" else "",
        recipe=recipe,
        code={"commit": "0123abc", "version": "0.1.0"},
    )
    return store.submit([new])[0]


def start(store: Store, run: Run, term: int) -> Attempt:
    """Claim a run and begin its next attempt."""
    attempt = store.claim(run.id, dispatcher="desk", term=term, deadline_s=3600)
    assert attempt is not None
    environment = {"torch": "2.15.0", "device": "cpu"}
    store.begin(
        run.id, attempt.number, node="desk", pid=4242, environment=environment, lease_s=3600
    )
    store.set_phase(run.id, attempt.number, Phase.RUNNING)
    store.append_log(
        run.id, attempt.number, rank=0, text=f"attempt {attempt.number} of {run.backbone} begins\n"
    )
    return attempt


def train(store: Store, attempt: Attempt, *, steps: Sequence[int], top1_pct: float) -> None:
    """Tell steps of a training that goes towards `top1_pct`."""
    now = datetime.now(UTC)
    losses = [
        Point(step, None, 2.3 * math.exp(-step / 60) + 0.05 * math.sin(step), now) for step in steps
    ]
    rates = [
        Point(step, None, 0.05 * (1 + math.cos(math.pi * step / STEPS)), now) for step in steps
    ]
    each = STEPS // EPOCHS
    ends = [step for step in steps if step % each == 0]
    accuracies = [
        Point(step, step // each, top1_pct * (1 - math.exp(-step / 45)), now) for step in ends
    ]
    validation = [Point(step, step // each, 2.3 * math.exp(-step / 50) + 0.1, now) for step in ends]
    store.progress(
        attempt.run_id,
        attempt.number,
        status="training",
        step=steps[-1],
        total_steps=STEPS,
        epoch=steps[-1] // each,
        eta_s=(STEPS - steps[-1]) * 0.8,
        points={
            "train_loss": losses,
            "lr": rates,
            "val_top1_pct": accuracies,
            "val_loss": validation,
        },
    )
    text = "".join(f"epoch {point.epoch}: top-1 {point.value:.2f} %\n" for point in accuracies)
    store.append_log(attempt.run_id, attempt.number, rank=0, text=text or "first steps done\n")


def _costs(params: int, madds: int) -> dict[str, Any]:
    return {"params": params, "madds": madds, "madds_assembly": 0, "image_size": 32, "classes": 10}


def _result(run: Run, *, top1_pct: float) -> dict[str, Any]:
    _, params, madds, _, _ = ENTRIES[run.backbone]
    return {
        "scores": {
            "top1_pct": top1_pct,
            "top5_pct": 99.9,
            "val_loss": 0.12,
            "best_top1_pct": top1_pct + 0.1,
            "best_epoch": 4,
            "train_loss": 0.05,
            "seconds_total": 74.0,
            "seconds_in_steps": 61.0,
        },
        "facts": _costs(params, madds)
        | {
            "task": "classify",
            "dataset": "digits",
            "dataset_fingerprint": "5d3c0ffee",
            "split": "val",
            "recipe": run.recipe,
            "recipe_hash": f"hash of {run.recipe}",
            "initial": "scratch",
            "train_samples_seen": 7185,
            "crop_pct": 1.0,
            "ema": False,
            "precision": "fp32",
            "train_images": 1437,
            "val_images": 360,
            "skipped_images": 0,
            "device": DEVICE,
            "torch": "2.15.0",
        },
        "rows": [],
    }
