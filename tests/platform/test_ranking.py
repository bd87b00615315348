from __future__ import annotations

import pytest

from convoy.leaderboard.accuracy import Accuracy
from convoy.leaderboard.comparison import Key
from convoy.leaderboard.intervals import estimate
from convoy.leaderboard.latency import Latency
from convoy.leaderboard.publication import beside
from convoy.leaderboard.rows import Group, Row
from convoy.terminal import ranking

FACTS = {
    "task": "classify",
    "dataset": "imagenet1k",
    "split": "val",
    "recipe": "long",
    "initial": "scratch",
    "image_size": 224,
    "crop_pct": 0.875,
    "precision": "fp32",
    "val_images": 50_000,
}
KEY = Key(tuple(FACTS.items()))
ECA = "resnet18/eca"


def row(*, settled: bool = True, top1_pct: float = 70.0) -> Row:
    top1 = estimate([top1_pct], samples=50_000)
    return Row(
        ECA,
        KEY,
        params=11_690_000,
        madds=1_814_000_000,
        accuracy=Accuracy({"top1": top1}, {0: 7}),
        latency=(Latency("cpu A", "b1", 12.5, 9, ratio=1.25, settled=settled),),
        published=beside(ECA, facts=FACTS, estimates={"top1": top1}),
        rank=1,
    )


def drawn(capsys: pytest.CaptureFixture[str], *groups: Group) -> str:
    ranking.draw(groups)
    return capsys.readouterr().out


def test_a_group_says_what_its_rows_share(capsys: pytest.CaptureFixture[str]) -> None:
    out = drawn(capsys, Group(KEY, (row(),)))
    assert "classify · imagenet1k (50,000 images of val) · recipe long" in out
    (line,) = [line for line in out.splitlines() if line.lstrip().startswith("1 ")]
    assert line.split()[:3] == ["1", ECA, "70.00"]
    assert line.split()[-3:] == ["1.25x", "7", "9"]


def test_the_published_value_stands_beside_with_its_difference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    published = next(one.row for one in row().published if one.row.top1_pct)
    out = drawn(capsys, Group(KEY, (row(),)))
    assert f"top-1 {published.top1_pct:g} %" in out
    assert f"ours differs by {70.0 - (published.top1_pct or 0):+.2f}, beyond noise" in out
    near = drawn(capsys, Group(KEY, (row(top1_pct=(published.top1_pct or 0) + 0.01),)))
    assert "ours differs by +0.01, within noise" in near


def test_a_latency_that_did_not_settle_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did not come to rest" not in drawn(capsys, Group(KEY, (row(),)))
    out = drawn(capsys, Group(KEY, (row(settled=False),)))
    assert f"latency did not come to rest: {ECA}" in out


def test_a_second_group_stands_apart_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    other = Group(KEY, (row(),), differs={"recipe_hash": ("r2", "r1")})
    out = drawn(capsys, Group(KEY, (row(),)), other)
    assert "Measured otherwise, so not comparable with the above" in out
    assert "differs in recipe_hash r2 (above r1)" in out


def test_lines_in_a_file_carry_no_blanks_at_their_end(capsys: pytest.CaptureFixture[str]) -> None:
    lines = drawn(capsys, Group(KEY, (row(),))).splitlines()
    assert lines == [line.rstrip() for line in lines]
