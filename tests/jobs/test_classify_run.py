from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs.classify import ClassifySpec
from jobs.classify.run import check, run
from jobs.errors import (
    DatasetError,
    DivergedError,
    InterruptedRunError,
    JobError,
    OutOfMemoryError,
    SpecError,
)
from jobs.job import Result
from jobs.training import loop
from jobs.training.optimiser import set_learning_rate
from jobs.training.state import FILE
from tests.jobs.context import FolderContext, KilledError

MakeSpec = Callable[..., ClassifySpec]

STEPS_PER_EPOCH = 7  # 120 images in batches of 16
EVERYTHING: dict[str, Any] = {
    "micro_batch": 8,
    "mixup": 0.2,
    "mixup_ramp_epochs": 1.5,
    "cutmix": 1.0,
    "dropout": 0.2,
    "drop_path": 0.1,
    "drop_path_course": "constant",
    "rand_augment": 5,
    "erasing": 0.25,
    "ema": 0.9,
    "clip_grad": 1.0,
    "optimiser": "adamw",
    "lr": 1e-3,
}
"""Everything of a recipe that draws at random or keeps a state of its own."""


def saved(context: FolderContext) -> dict[str, Any]:
    folder = context.resume()
    assert folder is not None
    state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True)
    return state


def assert_same(one: object, other: object, where: str = "state") -> None:
    """Compare nested states bit for bit; clocks are left out."""
    if isinstance(one, Tensor):
        assert isinstance(other, Tensor)
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert isinstance(other, dict)
        assert one.keys() == other.keys(), where
        for key in one:
            if not str(key).startswith("seconds_"):
                assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert isinstance(other, list | tuple)
        assert len(one) == len(other), where
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{index}]")
    else:
        assert one == other, where


def without_clocks(result: Result) -> dict[str, float]:
    return {k: v for k, v in result.scores.items() if not k.startswith("seconds_")}


@pytest.fixture
def context(tmp_path: Path) -> FolderContext:
    return FolderContext(tmp_path / "run")


def test_a_run_reports_scores_facts_and_series(make_spec: MakeSpec, context: FolderContext) -> None:
    spec = make_spec()
    result = run(spec, context)
    assert {"top1_pct", "top5_pct", "val_loss", "best_top1_pct", "best_epoch", "train_loss"} <= set(
        result.scores
    )
    assert result.scores["seconds_total"] > result.scores["seconds_in_steps"] > 0
    assert result.facts["train_images"] == 120
    assert result.facts["val_images"] == 40
    assert result.facts["train_samples_seen"] == 2 * STEPS_PER_EPOCH * 16
    assert result.facts["recipe_hash"] == spec.recipe.digest()
    assert result.facts["params"] > 0
    assert [report.step for report in context.reports if report.epoch is None] == list(
        range(1, 2 * STEPS_PER_EPOCH + 1)
    )
    assert {report.total_steps for report in context.reports} == {2 * STEPS_PER_EPOCH}
    assert context.series("val_top1_pct")[-1] == result.scores["top1_pct"]
    assert [report.epoch for report in context.reports if report.epoch] == [1, 2]
    assert context.series("lr")[0] == 0
    assert context.saves == [STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH]


def test_the_same_spec_gives_the_same_weights(make_spec: MakeSpec, tmp_path: Path) -> None:
    contexts = [FolderContext(tmp_path / name) for name in ("one", "other")]
    for context in contexts:
        run(make_spec(), context)
        torch.manual_seed(99)  # what ran before must not matter
    assert_same(saved(contexts[0])["network"], saved(contexts[1])["network"])


@pytest.mark.parametrize("stop_at", [3, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 2])
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
    make_spec: MakeSpec, tmp_path: Path, stop_at: int
) -> None:
    spec = make_spec(**EVERYTHING)
    straight = FolderContext(tmp_path / "straight")
    expected = run(spec, straight)
    broken = FolderContext(tmp_path / "broken", stop_at_step=stop_at)
    with pytest.raises(InterruptedRunError, match="user"):
        run(spec, broken)
    assert saved(broken)["progress"]["steps"] == stop_at
    resumed = replace(broken, stop_at_step=None, reports=[])
    torch.manual_seed(99)
    result = run(spec, resumed)
    assert_same(saved(resumed), saved(straight))
    assert without_clocks(result) == without_clocks(expected)
    assert resumed.series("train_loss") == straight.series("train_loss")[stop_at:]


def test_a_run_stopped_before_an_evaluation_scores_with_the_schedule_where_it_was(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    # the temperature of this method is no part of its state
    fields = {"backbone": "resnet20_cifar/kernel_warehouse"}
    spec = make_spec(fields, epochs=1, batch_size=60, micro_batch=60)
    straight = FolderContext(tmp_path / "straight")
    expected = run(spec, straight)
    broken = FolderContext(tmp_path / "broken", stop_at_step=2)
    with pytest.raises(InterruptedRunError):
        run(spec, broken)
    assert broken.series("val_loss") == []
    result = run(spec, replace(broken, stop_at_step=None, reports=[]))
    assert without_clocks(result) == without_clocks(expected)


def test_a_run_killed_after_any_checkpoint_goes_on_from_it(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec({"checkpoint_every_s": 1e-9})
    straight = FolderContext(tmp_path / "straight")
    expected = run(spec, straight)
    killed = FolderContext(tmp_path / "killed")
    for save in (2, 7, 4):  # 14 steps, so one is left for the last attempt
        killed.kill_at_save = save
        killed.saves.clear()
        with pytest.raises(KilledError):
            run(spec, killed)
    killed.kill_at_save = None
    result = run(spec, killed)
    assert_same(saved(killed)["network"], saved(straight)["network"])
    assert without_clocks(result) == without_clocks(expected)


def test_a_run_goes_on_from_a_checkpoint_of_an_earlier_version(
    make_spec: MakeSpec, context: FolderContext
) -> None:
    context.kill_at_save = 1
    with pytest.raises(KilledError):
        run(make_spec(), context)
    state = saved(context)
    best = state["progress"].pop("best")
    folder = context.resume()
    assert folder is not None
    torch.save({**state, "progress": {**state["progress"], "best_top1_pct": best}}, folder / FILE)
    context.kill_at_save = None
    result = run(make_spec(), context)
    assert result.scores["best_top1_pct"] >= best > 0


def test_a_run_killed_at_its_very_end_still_has_its_scores(
    make_spec: MakeSpec, context: FolderContext
) -> None:
    context.kill_at_save = 2
    with pytest.raises(KilledError):
        run(make_spec(), context)
    context.kill_at_save = None
    result = run(make_spec(), context)
    assert result.scores["top1_pct"] == context.series("val_top1_pct")[-1]


def test_a_checkpoint_of_another_spec_is_refused(
    make_spec: MakeSpec, context: FolderContext
) -> None:
    run(make_spec(epochs=1), context)
    with pytest.raises(JobError, match="is of another spec"):
        run(make_spec(epochs=2), context)


def test_accumulation_sees_the_same_images_as_one_large_batch(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    # without batch normalisation, the cut into micro-batches must not matter
    fields = {"backbone": "test_efficientnet_gn/conv"}
    contexts = {micro: FolderContext(tmp_path / str(micro)) for micro in (16, 4)}
    for micro, context in contexts.items():
        run(make_spec(fields, micro_batch=micro, epochs=1), context)
    one, other = (saved(context)["network"] for context in contexts.values())
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-5, msg=name)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_images(
    make_spec: MakeSpec, context: FolderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(optimiser: torch.optim.Optimizer, rate: float) -> None:
        set_learning_rate(optimiser, math.inf if rate and context.saves else rate)

    monkeypatch.setattr(loop, "set_learning_rate", explode)
    with pytest.raises(DivergedError) as caught:
        run(make_spec(), context)
    text = str(caught.value)
    assert "the training loss is nan in epoch 2, step 2 of 7, on train/" in text
    assert f"the checkpoint of step {STEPS_PER_EPOCH} is kept" in text
    assert saved(context)["progress"]["steps"] == STEPS_PER_EPOCH
    assert all(bool(value.isfinite().all()) for value in saved(context)["network"].values())


def test_few_unreadable_images_are_skipped_and_counted(
    make_spec: MakeSpec, context: FolderContext, few_digits: Path
) -> None:
    next((few_digits / "train" / "5").iterdir()).write_bytes(b"broken")
    result = run(make_spec({"max_bad_pct": 1}), context)
    assert result.facts["skipped_images"] == 1
    assert result.facts["train_images"] == 119


def test_the_check_before_a_run_refuses_too_many_unreadable_images(
    make_spec: MakeSpec, context: FolderContext, few_digits: Path
) -> None:
    next((few_digits / "val" / "5").iterdir()).write_bytes(b"broken")
    with pytest.raises(DatasetError, match="1 of 40 images of val"):
        check(make_spec(), context)
    assert any("checking" in text for text in context.statuses)


def test_a_hold_out_is_scored_in_the_place_of_val(
    make_spec: MakeSpec, context: FolderContext
) -> None:
    result = run(make_spec({"holdout_pct": 25, "train_pct": 50}, epochs=1), context)
    assert result.facts["split"] == "holdout"
    assert result.facts["val_images"] == 30
    assert result.facts["train_images"] == 40  # half of the nine left of each digit, rounded


def test_a_run_starts_from_the_weights_of_another(
    make_spec: MakeSpec, context: FolderContext, tmp_path: Path
) -> None:
    run(make_spec(epochs=1), context)
    folder = context.resume()
    assert folder is not None
    file = folder / "state.pt"
    frozen = FolderContext(tmp_path / "frozen", stop_at_step=1)
    with pytest.raises(InterruptedRunError):
        run(make_spec({"initial": str(file)}, lr=1e-30, weight_decay=0), frozen)
    parameters = {k: v for k, v in saved(context)["network"].items() if v.is_floating_point()}
    same = [k for k, v in parameters.items() if torch.equal(v, saved(frozen)["network"][k])]
    assert len(same) > len(parameters) / 2  # all but the running statistics
    other = make_spec({"initial": str(file), "backbone": "resnet10t/conv"})
    for refuses in (check, run):
        with pytest.raises(SpecError, match=r"initial: cannot load .* unexpected \(layer3"):
            refuses(other, frozen)


def test_a_batch_larger_than_the_training_set_is_refused(
    make_spec: MakeSpec, context: FolderContext
) -> None:
    with pytest.raises(SpecError, match="batch_size 128 is more than the 120 training images"):
        run(make_spec(batch_size=128), context)


def test_half_precision_is_refused_without_a_gpu(
    make_spec: MakeSpec, context: FolderContext
) -> None:
    with pytest.raises(SpecError, match="precision fp16 needs a GPU"):
        run(make_spec(precision="fp16"), context)


def test_mixed_precision_trains_on_a_cpu(make_spec: MakeSpec, context: FolderContext) -> None:
    result = run(make_spec(precision="bf16", epochs=1), context)
    assert math.isfinite(result.scores["val_loss"])


def test_running_out_of_memory_is_said_plainly(
    make_spec: MakeSpec, context: FolderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object, **__: object) -> None:
        torch.empty(2**60)

    monkeypatch.setattr(loop, "anneal", too_large)
    with pytest.raises(OutOfMemoryError, match=r"the host ran out of memory; make recipe\.micro"):
        run(make_spec(), context)


def test_a_run_on_all_digits_learns_to_read_them(
    make_spec: MakeSpec, context: FolderContext
) -> None:
    fields = {"data": "digits", "backbone": "resnet20_cifar/conv"}
    spec = make_spec(fields, epochs=2, batch_size=32, micro_batch=32, crop="none")
    result = run(spec, context)
    assert result.scores["top1_pct"] > 60  # chance is 10
    assert (context.cache / "digits" / "train").is_dir()
