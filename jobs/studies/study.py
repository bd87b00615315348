"""What a study is: rows of one published table, each with its baseline, under one recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from jobs.backbone import BackboneText
from jobs.recipes import ChosenDetectionRecipe, ChosenRecipe, TrainingRecipe


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StudyRow(_Part):
    """A row of the table. Its figures stand in its method's `published.json`, not here."""

    backbone: BackboneText
    source: str = Field(
        default="", description="Beginning of the source of this row, where not the study's."
    )
    note: str = Field(default="", description="What is known to differ from the source.")
    initial: str = Field(
        default="",
        description="Initial weights of this row, where the user names none; empty: the study's.",
    )


def _row_values(given: object) -> object:
    return {"backbone": given} if isinstance(given, str) else given


class Study(_Part):
    """A published table to be measured anew.

    A file of it is YAML with these fields; a row may be the text of a backbone alone. What a study
    has beside them depends on its kind (`MODELS`).
    """

    kind: str = Field(description="Kind of run that trains its rows.")
    detector: str | None = Field(
        default=None, description="Detector that its rows stand in; none where they classify."
    )
    name: str = Field(
        default="", description="What it is called; of a file without one the file's own name."
    )
    title: str = Field(min_length=1, description="What the table compares.")
    paper: str = Field(default="", description="Whose table it is, and which.")
    source: str = Field(
        default="",
        description="How the `source` of its rows begins in the methods' published.json; empty: "
        "its figures are not known here.",
    )
    dataset: str = Field(description="Data set of the published figures.")
    data: str = Field(
        default="", description="Where the images are; empty: said at submission (--set data=...)."
    )
    initial: str = Field(
        default="",
        description="Initial weights of rows that name none; empty: random ones to classify, and "
        "of a detector those that the user names at submission.",
    )
    recipe: TrainingRecipe = Field(
        description="Of every row: a recipe's name, its values, or {base: name, field: value, ...}."
    )
    rows: tuple[Annotated[StudyRow, BeforeValidator(_row_values)], ...] = Field(
        min_length=1, description="Backbones, the plain ones included."
    )
    notes: tuple[str, ...] = Field(
        default=(), description="What is known to differ from the source, of all rows."
    )

    @field_validator("rows")
    @classmethod
    def _each_once(cls, rows: tuple[StudyRow, ...]) -> tuple[StudyRow, ...]:
        texts = [row.backbone for row in rows]
        if twice := sorted({text for text in texts if texts.count(text) > 1}):
            raise ValueError(f"{', '.join(twice)} stands twice; name each backbone once")
        return rows

    @property
    def origin(self) -> str:
        """Where the published figures stand and of which data set they are, for people."""
        return f"{self.source}, of {self.dataset}" if self.source else "not known here"

    @property
    def layout(self) -> str:
        """What its images look like on disk, for people."""
        return "COCO's folder" if self.detector else "folder with train/ and val/"

    def command(self, called: str = "") -> str:
        """Return the command that submits it, what is to be filled in in angles.

        Args:
            called: How the command finds it; empty: by its name.
        """
        asked = [f"platform submit study {called or self.name} --set data=<folder>"]
        if self.detector and not (self.initial or all(row.initial for row in self.rows)):
            asked += ["parent.recipe=<recipe>", "parent.data=<ImageNet>"]
        return " --set ".join(asked)

    @property
    def task(self) -> str:
        """What published rows of it are of: ``classify``, or a detector."""
        return self.detector or self.kind

    @property
    def decided(self) -> Mapping[str, Any]:
        """Fields of the spec that it decides beside backbone, data and recipe."""
        return {"detector": self.detector} if self.detector else {}

    @property
    def by_backbone(self) -> Mapping[str, StudyRow]:
        """The rows by canonical text, in order."""
        return {row.backbone: row for row in self.rows}


class ClassifyStudy(Study):
    """A table of networks that classify."""

    kind: Literal["classify"] = "classify"
    detector: None = None
    dataset: str = Field(default="imagenet1k", description="Data set of the published figures.")
    recipe: ChosenRecipe


class DetectStudy(Study):
    """A table of backbones in one detector."""

    kind: Literal["detect"] = "detect"
    detector: Literal["mask_rcnn", "faster_rcnn"] = "mask_rcnn"
    dataset: str = Field(default="coco2017", description="Data set of the published figures.")
    recipe: ChosenDetectionRecipe


MODELS: Mapping[str, type[Study]] = {"classify": ClassifyStudy, "detect": DetectStudy}
"""Kind of run to what a study of it is."""
