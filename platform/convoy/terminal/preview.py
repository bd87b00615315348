"""What a submission would be: spec, cost and resources. Counting the cost imports torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import yaml

from convoy.records import NewRun
from convoy.submission import classes_of, image_size_of
from jobs.job import Json, load_cost, read_spec


@dataclass(frozen=True)
class Preview:
    """A run that has not been submitted.

    Attributes:
        run: As it would be.
        cost: ``params``, ``madds`` and ``madds_assembly`` at ``image_size`` and ``classes``, or
            what its kind counts; empty without a backbone.
    """

    run: NewRun
    cost: dict[str, Json]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "kind": self.run.kind,
            "spec": dict(self.run.spec),
            "spec_hash": self.run.spec_hash,
            "cost": self.cost,
            "resources": asdict(self.run.resources),
        }

    def as_text(self) -> str:
        """Return YAML that people read and ``--file`` takes (its part `spec`)."""
        whole = self.as_json()
        return str(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=100)).rstrip()


def look(run: NewRun) -> Preview:
    """Work out what a run would cost."""
    return Preview(run, _cost(run) if run.backbone else {})


def _cost(run: NewRun) -> dict[str, Json]:
    from backbones.cost import cost

    spec = read_spec(run.kind, run.spec)
    classes = classes_of(spec)
    if cost_of := load_cost(run.kind):
        return {**cost_of(spec, classes=classes), "classes": classes}
    image_size = image_size_of(spec)
    counted = cost(run.backbone, classes=classes, image_size=image_size)
    return {
        "params": counted.params,
        "madds": counted.madds,
        "madds_assembly": counted.madds_assembly,
        "image_size": image_size,
        "classes": classes,
    }
