"""What can be wrong with a COCO folder, what that leads to, and the report of it. Light."""

from __future__ import annotations

from enum import Enum, StrEnum

from pydantic import BaseModel, ConfigDict

from jobs.data.imagefolder import Split

_SHOWN = 5


class Effect(StrEnum):
    """What a fault leads to. Only the first two need the leave to skip."""

    IMAGE = "image left out"
    OBJECT = "object left out"
    MENDED = "mended"
    TOLD = "told"

    @property
    def skips(self) -> bool:
        """Whether something is left out."""
        return self in {Effect.IMAGE, Effect.OBJECT}


class Fault(Enum):
    """A kind of fault: what it leads to, and what is counted.

    Attributes:
        effect: What it leads to.
        text: What there are so many of.
    """

    effect: Effect
    text: str

    def __init__(self, effect: Effect, text: str) -> None:
        self.effect = effect
        self.text = text

    IMAGE_RECORD = (Effect.IMAGE, "images without an id (an integer from 0 on) or a file name")
    IMAGE_TWICE = (Effect.IMAGE, "images listed a second time")
    IMAGE_ID_TWICE = (Effect.IMAGE, "images that share their id with a different one")
    IMAGE_MISSING = (Effect.IMAGE, "images whose file is missing")
    IMAGE_UNREADABLE = (Effect.IMAGE, "images that cannot be decoded")
    IMAGE_SIZE = (Effect.IMAGE, "images of another size than the annotation file says")

    OBJECT_RECORD = (Effect.OBJECT, "objects whose record is malformed")
    OBJECT_TWICE = (Effect.OBJECT, "objects listed a second time")
    UNKNOWN_IMAGE = (Effect.OBJECT, "objects of an image that is not listed")
    UNKNOWN_CATEGORY = (Effect.OBJECT, "objects of a category that is not listed")
    BOX_MALFORMED = (Effect.OBJECT, "objects whose box is not x, y, width >= 0, height >= 0")
    BOX_OUTSIDE = (Effect.OBJECT, "objects whose box is outside of the image")
    BOX_CORNERS = (Effect.OBJECT, "objects whose box is two corners, not x, y, width, height")
    BOX_ELSEWHERE = (Effect.OBJECT, "objects whose box does not touch their mask")
    MASK_MISSING = (Effect.OBJECT, "objects without a mask")
    MASK_MALFORMED = (Effect.OBJECT, "objects whose mask is malformed")
    MASK_EMPTY = (Effect.OBJECT, "objects whose mask is empty")

    IMAGE_UNSIZED = (Effect.MENDED, "images without width and height; taken from the file")
    OBJECT_IDS = (Effect.MENDED, "objects whose id is 0, no integer or another's; all renumbered")
    AREA = (Effect.MENDED, "objects without a sound area; taken from the mask")
    CROWD_UNSAID = (Effect.MENDED, "objects without iscrowd; taken as 0")
    MASK_SLIVERS = (Effect.MENDED, "objects with parts of fewer than 3 points; the others kept")

    BOX_BEYOND = (Effect.TOLD, "objects whose box reaches out of the image")
    BOX_THIN = (Effect.TOLD, "objects thinner than a pixel; not trained on")
    BOX_LOOSE = (Effect.TOLD, "objects whose box overlaps its mask's by less than half")
    MASK_UNDER_PIXEL = (Effect.TOLD, "objects whose mask is too small to cover a pixel")
    CROWD_POLYGON = (Effect.TOLD, "crowds drawn as polygons (COCO's are RLE)")
    NO_OBJECTS = (Effect.TOLD, "images without objects")
    FILE_TWICE = (Effect.TOLD, "images whose file is listed under another id, too")
    UNLISTED = (Effect.TOLD, "image files that are not listed")
    CATEGORY_UNUSED = (Effect.TOLD, "categories without an object")
    IN_BOTH = (Effect.TOLD, "images that are in train and val alike, byte for byte")


class Finding(BaseModel):
    """How often a fault was found.

    Attributes:
        split: Where.
        fault: Name of the `Fault`.
        effect: What it leads to.
        count: How many there are.
        text: What the count is of.
        examples: The first few: image, object, what was found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Split
    fault: str
    effect: Effect
    count: int
    text: str
    examples: tuple[str, ...]

    def __str__(self) -> str:
        """Return it in one line."""
        shown = "; ".join(self.examples)
        return f"{self.split}: {self.text} ({self.count:,}): {shown}" + (
            "; ..." if self.count > len(self.examples) else ""
        )


class Findings:
    """Collects the faults of a split.

    Args:
        split: Which.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._counts: dict[Fault, int] = {}
        self._examples: dict[Fault, list[str]] = {}

    def add(self, fault: Fault, example: str) -> None:
        """Count a fault; the first few are kept as examples."""
        self._counts[fault] = self._counts.get(fault, 0) + 1
        examples = self._examples.setdefault(fault, [])
        if len(examples) < _SHOWN:
            examples.append(example)

    def all(self) -> tuple[Finding, ...]:
        """Return what was found, in the order of `Fault`."""
        return tuple(
            Finding(
                split=self._split,
                fault=fault.name.lower(),
                effect=fault.effect,
                count=self._counts[fault],
                text=fault.text,
                examples=tuple(self._examples[fault]),
            )
            for fault in Fault
            if fault in self._counts
        )


class Report(BaseModel):
    """What was found in train and val.

    Attributes:
        findings: One a fault and split.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    findings: tuple[Finding, ...] = ()

    def count(self, fault: Fault, split: Split) -> int:
        """Return how often a fault was found in a split."""
        return sum(
            finding.count
            for finding in self.findings
            if (finding.fault, finding.split) == (fault.name.lower(), split)
        )

    def skipping(self) -> tuple[Finding, ...]:
        """Return the faults that leave something out."""
        return tuple(finding for finding in self.findings if finding.effect.skips)

    def lines(self) -> list[str]:
        """Return the findings in words, one a line, those that leave something out first."""
        return [
            f"{finding.effect}: {finding}"
            for effect in Effect
            for finding in self.findings
            if finding.effect is effect
        ]
