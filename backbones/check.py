"""Refuse a backbone that cannot be built, without building it. No torch in this process.

The sites of the networks that papers use are kept in `known_sites.json`, so the question whether a
method finds
something to replace is answered at once. Any other network is surveyed by a child process, which
takes
seconds. ``python -m backbones.check --write`` makes the file anew; a test holds it to the survey.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from backbones.errors import UnsupportedNetworkError
from backbones.resolve import PLAIN, Resolved, resolve
from backbones.selection import select
from backbones.sites import Role, Site, Slot, sites

KNOWN = "known_sites.json"
NETWORKS = (
    "convnext_tiny",
    "deit_tiny_patch16_224",
    "efficientnet_b0",
    "mobilenetv2_050",
    "mobilenetv2_100",
    "mobilenetv2_100_cifar",
    "mobilenetv2_140",
    "mobilenetv3_large_100",
    "resnet18",
    "resnet20_cifar",
    "resnet34",
    "resnet50",
    "resnet56_cifar",
    "resnet101",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_weightnet_x0_5",
    "shufflenet_v2_weightnet_x1_0",
    "shufflenet_v2_weightnet_x1_5",
    "shufflenet_v2_weightnet_x2_0",
    "vgg16_bn",
    "vgg16_cifar",
)
"""Networks whose sites are kept."""


def check(text: str | Resolved) -> Resolved:
    """Refuse a backbone that cannot be built.

    Args:
        text: The backbone.

    Returns:
        The backbone resolved.

    Raises:
        BackboneError: The text is wrong, a setting is refused, or a method finds nothing to
            replace.
    """
    resolved = resolve(text)
    methods = [(name, settings) for name, settings in resolved.methods if name != PLAIN]
    if methods:
        found = known_sites(resolved.network) or _survey_elsewhere(resolved.network)
        for name, settings in methods:
            select(name, settings, found, network=resolved.network)
    return resolved


def known_sites(network: str) -> list[Site]:
    """Return the kept sites of a network, with default options at 224 pixels, or nothing."""
    return [_from_row(row) for row in _known().get(network, ())]


@cache
def _known() -> Mapping[str, Sequence[Sequence[Any]]]:
    known: Mapping[str, Sequence[Sequence[Any]]] = json.loads(
        files("backbones").joinpath(KNOWN).read_text("utf-8")
    )
    return known


@cache
def _survey_elsewhere(network: str) -> list[Site]:
    """Ask a child process, which may import torch, for the sites of a network."""
    child = subprocess.run(
        [sys.executable, "-m", "backbones.check", network],
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        last = (child.stderr.strip().splitlines() or ["no word"])[-1]
        raise UnsupportedNetworkError(f"{network} cannot be surveyed: {last}")
    return [_from_row(row) for row in json.loads(child.stdout)]


def _to_row(site: Site) -> list[Any]:
    values = asdict(site)
    values["slots"] = sorted(site.slots)
    return [values[field.name] for field in fields(Site)]


def _from_row(row: Sequence[Any]) -> Site:
    names = (field.name for field in fields(Site))
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in zip(names, row, strict=True)
    }
    values["slots"] = frozenset(Slot(slot) for slot in values["slots"])
    values["role"] = Role(values["role"])
    return Site(**values)


def _dump(network: str) -> list[list[Any]]:
    return [_to_row(site) for site in sites(network)]


def main() -> None:
    """Print the sites of a network as JSON, or write the file of the known ones."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("network", nargs="?", help="a network to survey")
    parser.add_argument("--write", action="store_true", help=f"write {KNOWN} anew")
    arguments = parser.parse_args()
    if arguments.write:
        known = {name: _dump(name) for name in NETWORKS}
        lines = ",\n".join(
            f"{json.dumps(name)}: [\n"
            + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
            + "]"
            for name, rows in known.items()
        )
        Path(__file__).with_name(KNOWN).write_text(f"{{\n{lines}\n}}\n", "utf-8")
    else:
        sys.stdout.write(json.dumps(_dump(arguments.network)))


if __name__ == "__main__":
    main()
