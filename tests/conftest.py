"""What all tests share: one torch thread, printed seeds, real images, the browser.

Nothing is skipped in silence. A test marked `data` fails when the images are missing, unless
``CONVOY_TEST_DATA=none`` says to leave those tests out; a test marked `gpu` is left out where no
CUDA device is. What is left out is counted, with its reason, before the first test.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import zlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SEED = int(os.environ.get("CONVOY_TEST_SEED", "0"))

# More threads, in the many processes of a test run, make everything slower. Children inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")


def pytest_report_header() -> list[str]:
    return [
        f"seed: {SEED} (CONVOY_TEST_SEED)",
        f"real images: {_data_setting()} (CONVOY_TEST_DATA)",
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _data_setting() == "none":
        _leave_out(config, items, marker="data", reason="CONVOY_TEST_DATA=none")
    if any("gpu" in item.keywords for item in items) and not _has_cuda():
        _leave_out(config, items, marker="gpu", reason="no CUDA device here")


def _leave_out(
    config: pytest.Config, items: list[pytest.Item], *, marker: str, reason: str
) -> None:
    out = [item for item in items if item.get_closest_marker(marker)]
    if out:
        items[:] = [item for item in items if not item.get_closest_marker(marker)]
        config.hook.pytest_deselected(items=out)
        config.get_terminal_writer().line(f"left out: {len(out)} tests marked {marker} ({reason})")


def _data_setting() -> str:
    return os.environ.get("CONVOY_TEST_DATA") or str(REPOSITORY.parent / "shared" / "data")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_images() -> Path:
    """The folder of real data sets; tests that use it are marked `data`."""
    folder = Path(_data_setting()).expanduser()
    if not folder.is_dir():
        pytest.fail(
            f"no folder {folder} with real images; set CONVOY_TEST_DATA to one that holds "
            "cifar10-imagefolder/{train,val}/<class>/*, or to none to leave these tests out",
            pytrace=False,
        )
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's browser; `make test` installs one."""
    from dashboard.screenshots import BROWSERS

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail(
            f"none of {', '.join(BROWSERS)} is on the PATH; run infra/chromium, which installs "
            "one or says what to type",
            pytrace=False,
        )
    return found


@pytest.fixture(autouse=True)
def same_start(request: pytest.FixtureRequest) -> None:
    """Begin each test from a random state of its own and with one thread, whatever ran before."""
    if request.node.get_closest_marker("data"):
        request.getfixturevalue("real_images")
    seed = zlib.crc32(f"{SEED} {request.node.nodeid}".encode())
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
