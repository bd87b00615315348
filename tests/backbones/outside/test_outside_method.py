"""A method from outside the tree, installed as any package is, found through its entry point."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent / "convoy_example"
MAPS = """
from backbones.attention_map import by_layer, capture
from convoy_example.operator import ChannelScale

def maps(network, images, *, sites, settings):
    said = capture(network, images, kind=ChannelScale, pick=lambda y: y.mean((1, 2, 3))[:, None])
    return by_layer(said, title="Mean", column="map", note=f"{len(sites)} sites")
"""


@pytest.fixture
def site_directory(tmp_path: Path) -> Path:
    """A directory that holds the example as an installer would leave it."""
    shutil.copytree(EXAMPLE, tmp_path / EXAMPLE.name)
    enter(tmp_path, point="channel_scale = convoy_example")
    return tmp_path


def enter(directory: Path, *, point: str, package: str = "convoy-example") -> None:
    info = directory / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[convoy.methods]\n{point}\n")


def ask(directory: Path, repository: Path, code: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(directory), str(repository)])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_it_is_listed_without_loading_torch(site_directory: Path, repository: Path) -> None:
    answer = ask(
        site_directory,
        repository,
        "import json, sys\n"
        "from backbones import method\n"
        "found = dict(method.modules())\n"
        "title = method.get('channel_scale').title\n"
        "print(json.dumps([found, title, 'torch' in sys.modules]))",
    )
    assert answer.returncode == 0, answer.stderr
    found, title, has_torch = json.loads(answer.stdout)
    assert found["channel_scale"] == "convoy_example"
    assert found["se"] == "backbones.methods.se"
    assert title == "Channel scale"
    assert not has_torch


def test_it_is_built_described_and_combined_like_any_other(
    site_directory: Path, repository: Path
) -> None:
    answer = ask(
        site_directory,
        repository,
        "import json, torch\n"
        "from backbones.build import build\n"
        "from backbones.describe import describe\n"
        "text = 'resnet18(stem=small)/channel_scale(initial=0.5)+eca'\n"
        "network = build(text, classes=10, image_size=32).eval()\n"
        "shape = list(network(torch.randn(1, 3, 32, 32)).shape)\n"
        "factor = network.get_submodule('layer1.0.se.0').factor[0].item()\n"
        "about = describe('resnet18/channel_scale').as_json()\n"
        "print(json.dumps([shape, factor, about]))",
    )
    assert answer.returncode == 0, answer.stderr
    shape, factor, about = json.loads(answer.stdout)
    assert shape == [1, 10]
    assert factor == 0.5
    assert about["backbone"] == "resnet18/channel_scale"
    assert about["blocks_taken"] == 8
    assert about["params"] == about["published"][0]["params_exact"]


def test_its_settings_are_checked_like_any_other(site_directory: Path, repository: Path) -> None:
    answer = ask(
        site_directory,
        repository,
        "from backbones.resolve import resolve\nresolve('resnet18/channel_scale(initial=0)')",
    )
    assert "SettingError: channel_scale(initial=0): Input should be greater than 0" in answer.stderr
    assert "What every factor begins with." in answer.stderr


def test_the_name_of_a_method_that_exists_is_refused(
    site_directory: Path, repository: Path
) -> None:
    enter(site_directory, point="se = convoy_example")
    answer = ask(site_directory, repository, "from backbones import method\nmethod.modules()")
    assert answer.returncode == 1
    assert (
        "UnknownMethodError: method 'se' of convoy_example has the name of backbones.methods.se; "
        "rename the entry point" in answer.stderr
    )


def test_a_package_without_a_method_says_what_is_missing(
    site_directory: Path, repository: Path
) -> None:
    enter(site_directory, point="nothing = json", package="convoy-nothing")
    answer = ask(site_directory, repository, "from backbones import method\nmethod.get('nothing')")
    assert answer.returncode == 1
    assert "UnknownMethodError: json has no METHOD; see CONTRIBUTING.md" in answer.stderr


def test_what_it_can_show_is_found_like_any_others(site_directory: Path, repository: Path) -> None:
    (site_directory / EXAMPLE.name / "maps.py").write_text(MAPS)
    shutil.copy(EXAMPLE / "__init__.py", site_directory / "of_one_file.py")
    enter(site_directory, point="of_one_file = of_one_file", package="convoy-of-one-file")
    answer = ask(
        site_directory,
        repository,
        "import json, sys, torch\n"
        "from backbones.attention_map import attention_maps, offers\n"
        "from backbones.build import build\n"
        "text = 'resnet20_cifar/channel_scale'\n"
        "known = [offers(text), offers('resnet18/of_one_file')]\n"
        "network = build(text, classes=10, image_size=32)\n"
        "(one,) = attention_maps(text, network, torch.randn(2, 3, 32, 32), classes=10)\n"
        "print(json.dumps([known, one.values.shape, one.title, one.note]))",
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == [[True, False], [9, 1], "Mean", "9 sites"]
