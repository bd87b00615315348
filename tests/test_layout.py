"""Rules about the tree that no other tool holds; why each exists stands in CONTRIBUTING.md."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("backbones", "detection", "jobs", "platform/convoy", "dashboard")
NAMES = {folder.rpartition("/")[2] for folder in PACKAGES}
PIN = re.compile(r"(?P<name>[a-z0-9._-]+)==(?P<version>[0-9][0-9a-z.]*)")
# The brackets keep these patterns from finding themselves.
INDEX_HOSTS = r"py[p]i\.org|python[h]osted|registry\.npm[j]s|deb\.deb[i]an\.org"
ROOT_HOME = r"/r[o]ot/"
RULE_AND_REASON = re.compile(r"(type: ignore\[[\w, -]+\]|noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*)\W+\w+")


def tracked(pattern: str = "*") -> list[Path]:
    """Files of the project, also those not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return sorted(path for path in paths if path.is_file())


def child(code: str, *, folder: Path = ROOT) -> str:
    """What a fresh interpreter prints that was started in a folder."""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def comments(file: Path) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(file.read_text("utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_the_folder_platform_holds_convoy_and_nothing_else() -> None:
    held = {path.relative_to(ROOT / "platform").parts[0] for path in tracked("platform/*")}
    assert held == {"convoy"}


def test_a_process_started_in_the_root_gets_the_standard_platform() -> None:
    found = child("import platform; platform.system(); print(platform.__file__)")
    assert Path(found).name == "platform.py"


@pytest.mark.parametrize("package", sorted(NAMES))
def test_a_package_is_imported_from_this_checkout(package: str) -> None:
    found = Path(child(f"import {package}; print({package}.__file__)"))
    assert ROOT in found.parents


def test_no_file_of_the_dashboard_hides_a_package() -> None:
    shown = {path.relative_to(ROOT / "dashboard").parts[0] for path in tracked("dashboard/*")}
    names = {name.removesuffix(".py") for name in shown if not name.startswith("__")}
    taken = NAMES | set(sys.stdlib_module_names) | set(packages_distributions())
    assert not names & taken


@pytest.mark.parametrize("folder", PACKAGES)
def test_each_package_says_that_it_is_typed(folder: str) -> None:
    assert (ROOT / folder / "py.typed").is_file()


def test_no_test_lies_in_a_package() -> None:
    files = [*tracked("tests/**/test_*.py"), *tracked("tests/**/conftest.py")]
    folders = {folder for file in files for folder in file.relative_to(ROOT).parents}
    assert not [folder for folder in folders if (ROOT / folder / "__init__.py").exists()]


def test_each_method_has_a_light_and_a_heavy_half() -> None:
    folders = {path.parent for path in tracked("backbones/methods/*/*.py")}
    assert folders
    for folder in folders:
        modules = {path.name for path in folder.glob("*.py")}
        assert {"__init__.py", "operator.py"} <= modules, folder.name


def test_no_file_names_a_package_index_or_a_place_on_this_machine() -> None:
    here = "|".join(re.escape(f"{path}/") for path in (ROOT, Path.home()) if len(path.parts) > 1)
    forbidden = re.compile("|".join(filter(None, (INDEX_HOSTS, ROOT_HOME, here))))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in tracked()
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1)
        if (match := forbidden.search(line))
    ]
    assert not found, "\n".join(found)


def test_each_ignored_rule_is_named_with_a_reason() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{number}: {text}"
        for path in tracked("*.py")
        for number, text in comments(path)
        if re.search(r"type: *ignore|noqa", text) and not RULE_AND_REASON.search(text)
    ]
    assert not bare, "\n".join(bare)


def test_the_constraints_are_names_with_versions_and_pin_each_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    pins = [match for line in wanted if (match := PIN.fullmatch(line))]
    assert len(pins) == len(wanted)
    versions = {canonicalize_name(pin["name"]): pin["version"] for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    named = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    for requirement in map(Requirement, named):
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier
