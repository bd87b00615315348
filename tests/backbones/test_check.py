"""A backbone that cannot be built is refused without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from backbones.check import NETWORKS, check, known_sites
from backbones.errors import UnsupportedNetworkError
from backbones.sites import sites


@pytest.mark.parametrize("network", NETWORKS)
def test_kept_sites_are_those_of_the_survey(network: str) -> None:
    assert known_sites(network) == sites(network), (
        "run `python -m backbones.check --write` after a change to the survey"
    )


def test_a_light_check_loads_no_torch() -> None:
    code = (
        "import sys; from backbones.check import check; "
        "print(check('resnet50/se+eca')); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "resnet50/se+eca"


def test_a_network_that_is_not_kept_is_surveyed_elsewhere() -> None:
    assert str(check("test_resnet/eca")) == "test_resnet/eca"
    with pytest.raises(UnsupportedNetworkError, match="nothing to replace"):
        check("vit_tiny_patch16_224/se")
