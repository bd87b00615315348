from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convoy import submission
from convoy.errors import SubmissionError
from convoy.records import NewRun
from convoy.submission import Wishes
from jobs.errors import DatasetError, SpecError
from jobs.job import read_spec
from tests.jobs.cifar_files import small_cifar10
from tests.jobs.coco_files import small_coco

ADA = Wishes(owner="ada")
CONV, ECA = "resnet18(stem=small)/conv", "resnet18(stem=small)/eca"
VALUES: dict[str, Any] = {"data": "digits", "recipe": "digits_quick"}


def prepare(**changes: Any) -> list[NewRun]:
    asked: dict[str, Any] = {"wishes": ADA, "backbones": [ECA], "values": VALUES, **changes}
    return submission.prepare("classify", asked.pop("values"), **asked)


def test_a_run_holds_the_resolved_spec_and_its_hash() -> None:
    (run,) = prepare()
    assert run.spec["recipe"]["name"] == "digits_quick"
    assert run.spec["recipe"]["epochs"] > 0
    assert (run.backbone, run.data, run.recipe) == (ECA, "digits", "digits_quick")
    assert len(run.spec_hash) == 16
    assert (run.owner, run.key, run.depends_on) == ("ada", None, ())


def test_backbones_are_stored_in_canonical_form() -> None:
    (run,) = prepare(backbones=["resnet18( stem = small )/eca()"])
    assert run.backbone == run.spec["backbone"] == ECA


def test_the_same_spec_has_the_same_hash_and_another_has_not() -> None:
    (one,), (same,), (other,) = prepare(), prepare(), prepare(seeds=[1])
    assert one.spec_hash == same.spec_hash != other.spec_hash


def test_resources_and_priority_are_no_part_of_the_hash() -> None:
    (one,), (other,) = prepare(), prepare(wishes=Wishes("ada", priority=3, cpus=2))
    assert other.resources.cpus == 2
    assert one.spec_hash == other.spec_hash


def test_backbones_and_seeds_multiply_and_keys_are_numbered() -> None:
    runs = prepare(backbones=[CONV, ECA], seeds=[0, 1], wishes=Wishes("ada", key="k"))
    assert [(run.backbone, run.spec["seed"], run.key) for run in runs] == [
        (CONV, 0, "k#1"),
        (CONV, 1, "k#2"),
        (ECA, 0, "k#3"),
        (ECA, 1, "k#4"),
    ]
    assert prepare(wishes=Wishes("ada", key="k"))[0].key == "k"


@pytest.mark.parametrize(
    "changes",
    [
        {"values": VALUES | {"backbone": ECA}},
        {"values": VALUES | {"seed": 1}, "seeds": [2]},
    ],
)
def test_what_is_said_twice_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SubmissionError, match="say it in one place"):
        prepare(**changes)


@pytest.mark.parametrize(
    "wishes",
    [{"workers": 0}, {"cpus": 0.0}, {"gpus": -1.0}, {"cpus": float("inf")}, {"cpus": float("nan")}],
)
def test_amounts_out_of_range_are_refused(wishes: dict[str, Any]) -> None:
    with pytest.raises(SubmissionError, match="it must be from"):
        prepare(wishes=Wishes("ada", **wishes))


def test_every_wrong_field_is_named() -> None:
    with pytest.raises(SpecError) as caught:
        prepare(values={"data": "digits", "recipe": "digits_quik", "sede": 1})
    assert "digits_quick" in str(caught.value)
    assert "seed" in str(caught.value)


def test_image_size_comes_from_the_recipe_or_the_spec() -> None:
    recipe = {"base": "digits_quick", "image_size": 40}
    (trained,) = prepare(values={"data": "digits", "recipe": recipe})
    (timed,) = submission.prepare("benchmark", {"image_size": 48}, wishes=ADA, backbones=[ECA])
    assert submission.image_size_of(read_spec("classify", trained.spec)) == 40
    assert submission.image_size_of(read_spec("benchmark", timed.spec)) == 48


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        (Wishes("ada", priority=10**20), "it must be from -1000000 to 1000000"),
        (Wishes("ada", name="a" * 201), "name has 201 characters; it may have up to 200"),
        (Wishes("ada", study="a\x1b[31m"), "study .* a terminal does not print"),
        (Wishes("ada", key=""), "the key is empty"),
    ],
)
def test_what_the_store_or_a_terminal_cannot_take_is_refused(wishes: Wishes, says: str) -> None:
    with pytest.raises(SubmissionError, match=says):
        prepare(wishes=wishes)


def test_a_folder_of_objects_is_submitted_to_detect_and_not_to_classify(tmp_path: Path) -> None:
    folder = small_coco(tmp_path / "kitchen").root
    values = {"backbone": ECA, "data": str(folder), "recipe": "digit_scenes_quick"}
    (run,) = submission.prepare("detect", values, wishes=ADA)
    assert run.data == "kitchen"
    assert submission.classes_of(read_spec("detect", run.spec)) == 3
    with pytest.raises(DatasetError, match="use it in a run of kind detect"):
        prepare(values={"data": str(folder), "recipe": "digits_quick"})
    with pytest.raises(DatasetError, match="to detect, use digit_scenes"):
        submission.prepare("detect", {**values, "data": "digits"}, wishes=ADA)


def test_the_files_of_cifar_are_submitted_as_a_folder_of_images_is(tmp_path: Path) -> None:
    folder = small_cifar10(tmp_path / "cifar-10-batches-bin", each=1)
    values = {"data": str(folder), "recipe": "cifar_quick"}
    (run,) = prepare(values=values)
    assert run.data == "cifar10", "as published rows call it"
    assert submission.classes_of(read_spec("classify", run.spec)) == 10
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(DatasetError, match=r"files of CIFAR-10, but no data_batch_3\.bin"):
        prepare(values=values)
