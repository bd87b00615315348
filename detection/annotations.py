"""Reads annotation files in COCO's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detection.errors import DetectionError


def read_annotations(file: Path) -> dict[str, Any]:
    """Read an annotation file; its objects are numbered anew, from 1, and all say ``iscrowd``.

    The evaluator marks what is matched by the object's number, so that a file with an object 0, or
    with a number twice, would be scored wrongly.

    Raises:
        DetectionError: It cannot be read, or is in another format.
    """
    try:
        truth: dict[str, Any] = json.loads(file.read_bytes())
        truth["annotations"] = [
            {**entry, "id": number, "iscrowd": int(entry.get("iscrowd", 0))}
            for number, entry in enumerate(truth["annotations"], start=1)
        ]
        {image["id"] for image in truth["images"]}, truth["categories"]
    except OSError as error:
        raise DetectionError(f"annotations {file} cannot be opened: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DetectionError(
            f"{file} is no annotation file in COCO's format: {error!r}; it needs images, "
            "annotations and categories"
        ) from error
    return truth
