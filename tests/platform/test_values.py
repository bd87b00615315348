from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convoy.errors import SubmissionError
from convoy.values import read_numbers, read_scalar, read_values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("0.1", 0.1),
        ("1e-3", 0.001),
        ("2E5", 200_000.0),
        ("true", True),
        ("null", None),
        ("", None),
        ("[30, 60]", [30, 60]),
        ("{a: 1}", {"a": 1}),
        ("digits", "digits"),
        ("2026-11-22", "2026-11-22"),
        ("a: b", "a: b"),
        ("resnet18/kernel_warehouse(budget=4)+eca", "resnet18/kernel_warehouse(budget=4)+eca"),
        ("one", "one"),
        ("[", "["),
        ("infe", "infe"),
    ],
)
def test_values_are_read_as_one_would_mean_them(text: str, value: object) -> None:
    assert read_scalar(text) == value
    assert type(read_scalar(text)) is type(value)


@pytest.mark.parametrize(
    ("sets", "values"),
    [
        (["recipe=a", "recipe.epochs=5"], {"recipe": {"base": "a", "epochs": 5}}),
        (["recipe.epochs=5", "recipe=a"], {"recipe": {"base": "a", "epochs": 5}}),
        (["recipe.epochs=5"], {"recipe": {"base": "filed", "epochs": 5}}),
        (["recipe=a"], {"recipe": "a"}),
        (["seed=3"], {"recipe": "filed", "seed": 3}),
        (["key=a=b"], {"recipe": "filed", "key": "a=b"}),
    ],
)
def test_what_is_set_goes_over_the_file(
    tmp_path: Path, sets: list[str], values: dict[str, Any]
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("recipe: filed\n")
    assert read_values(file=file, sets=sets) == values


def test_a_field_of_the_files_recipe_can_be_set(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text('{"recipe": {"name": "own", "epochs": 3, "lr": 0.1}}')
    found = read_values(file=file, sets=["recipe.epochs=5"])
    assert found == {"recipe": {"name": "own", "epochs": 5, "lr": 0.1}}


@pytest.mark.parametrize("text", ["data", "=digits", "recipe..epochs=1", ".=1"])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(SubmissionError, match="key=value"):
        read_values(file=None, sets=[text])


def test_only_a_recipe_can_be_named_and_changed() -> None:
    with pytest.raises(SubmissionError, match="has no field 'path'"):
        read_values(file=None, sets=["data=digits", "data.path=x"])


@pytest.mark.parametrize(
    ("content", "says"), [("- a\n- b\n", "holds list"), ("a: [", "not YAML"), ("", "NoneType")]
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(content)
    with pytest.raises(SubmissionError, match=says):
        read_values(file=file, sets=())


@pytest.mark.parametrize(
    ("text", "numbers"), [("", ()), ("3", (3,)), ("0,1, 2", (0, 1, 2)), ("0-2,7", (0, 1, 2, 7))]
)
def test_seeds_are_numbers_and_ranges(text: str, numbers: tuple[int, ...]) -> None:
    assert read_numbers(text) == numbers


@pytest.mark.parametrize("text", ["a", "1-", "-1", "1.5"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(SubmissionError, match="cannot read seeds"):
        read_numbers(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (",", "name none"),
        ("5-2", "run backwards; write 2-5"),
        ("0-10000", "more than 10,000"),
        ("0-9999,7", "more than 10,000"),
    ],
)
def test_seeds_that_name_none_or_too_many_are_refused(text: str, says: str) -> None:
    with pytest.raises(SubmissionError, match=says):
        read_numbers(text)
