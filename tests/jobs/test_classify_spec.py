from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs import recipes
from jobs.classify import ClassifySpec, precheck
from jobs.errors import DatasetError, SpecError
from jobs.job import read_spec


def spec_of(**fields: Any) -> ClassifySpec:
    spec = read_spec("classify", {"backbone": "resnet18/conv", "recipe": "digits_quick", **fields})
    assert isinstance(spec, ClassifySpec)
    return spec


def test_a_recipe_may_be_given_by_name_by_changes_or_whole() -> None:
    named = spec_of()
    assert named.recipe == recipes.get("digits_quick")
    changed = spec_of(recipe={"base": "digits_quick", "epochs": 3})
    assert changed.recipe.epochs == 3
    assert changed.recipe.name == "digits_quick(epochs=3)"
    assert spec_of(recipe=changed.recipe.model_dump(mode="json")) == changed


def test_a_stored_spec_reads_back_as_the_same() -> None:
    spec = spec_of(recipe={"base": "kw_adv300", "epochs": 30})
    again = read_spec("classify", spec.model_dump(mode="json"))
    assert again == spec
    assert again.digest() == spec.digest()


def test_the_backbone_is_stored_in_canonical_form() -> None:
    assert spec_of(backbone="resnet18").backbone == "resnet18/conv"
    assert spec_of(backbone=" resnet18 / se ").backbone == "resnet18/se"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backbone": "resnet81/conv"}, "backbone: unknown network 'resnet81'; did you mean"),
        ({"backbone": "resnet18/eac"}, "backbone: unknown method 'eac'"),
        ({"backbone": "resnet18/se(reducton=8)"}, "reducton"),
        ({"recipe": "digits_quik"}, "recipe: unknown recipe 'digits_quik'; did you mean digits_"),
        ({"recipe": {"base": "nope"}}, "recipe: unknown recipe 'nope'"),
        (
            {"recipe": {"base": "digits_quick", "epocs": 2}},
            r"recipe\.epocs: no such field; did you mean epochs",
        ),
        ({"recipe": {"base": "digits_quick", "epochs": -1}}, r"recipe\.epochs: .*found -1"),
        ({"seed": -1}, "seed: .*found -1"),
        ({"sed": 1}, "sed: no such field; did you mean seed"),
        ({"data": " "}, "data: give `digits` or a folder"),
        ({"max_bad_pct": 101}, "max_bad_pct: "),
    ],
)
def test_a_wrong_field_is_named_with_what_would_do(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(**fields)


def test_a_folder_is_stored_as_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert spec_of(data="./digits").data == str(tmp_path / "digits")
    assert spec_of(data="digits").data == "digits"


def test_submission_refuses_data_and_weights_that_are_not_there(
    tmp_path: Path, few_digits: Path
) -> None:
    precheck(spec_of(data=str(few_digits)))
    with pytest.raises(DatasetError, match=r"no data folder .*digit; .*did you mean digits"):
        precheck(spec_of(data=str(tmp_path / "digit")))
    with pytest.raises(SpecError, match=r"initial: no file .*none\.pt; use scratch, pretrained"):
        precheck(spec_of(initial=str(tmp_path / "none.pt")))
