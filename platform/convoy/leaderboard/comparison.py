"""The comparison key: what must be equal before two figures may stand in one ranking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convoy.records import Json

IDENTITY = (
    "task",
    "detector",
    "dataset_fingerprint",
    "split",
    "recipe_hash",
    "initial",
    "train_samples_seen",
    "image_size",
    "crop_pct",
    "ema",
    "precision",
)
"""Facts of a result that must be equal for two scores to be compared."""
_OF_SOME_TASKS = {"detector"}
"""Facts of which a key says nothing where a result has none."""
LABELS = ("dataset", "recipe", "classes", "val_images")
"""Facts that are shown with a key and do not make it."""


@dataclass(frozen=True)
class Key:
    """What the rows of a group share.

    Attributes:
        identity: The facts that make the key, in the order of `IDENTITY` (of latency: device and
            protocol).
        labels: Further facts for people: names of data set and recipe, classes, validation images.
    """

    identity: tuple[tuple[str, Json], ...]
    labels: Mapping[str, Json] = field(default_factory=dict, compare=False)

    def __getitem__(self, name: str) -> Json:
        """Return a fact or label by name; None when there is none."""
        return dict(self.identity).get(name, self.labels.get(name))

    def facts(self) -> dict[str, Json]:
        """Return labels and identity as one mapping."""
        return {**self.labels, **dict(self.identity)}


def key_of(facts: Mapping[str, Json]) -> Key:
    """Return the key of a result from its facts; a missing fact counts as a value of its own."""
    known = (name for name in IDENTITY if name in facts or name not in _OF_SOME_TASKS)
    return Key(
        tuple((name, facts.get(name)) for name in known),
        {name: facts.get(name) for name in LABELS},
    )


def difference(here: Key, there: Key) -> dict[str, tuple[Json, Json]]:
    """Return the facts in which two keys differ: name to (value here, value there)."""
    names = dict([*here.identity, *there.identity])
    return {name: (here[name], there[name]) for name in names if here[name] != there[name]}
