from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.errors import WeightsError
from detection import bridge, openmmlab
from detection.openmmlab import load_mmengine_checkpoint

from mmengine.logging import MessageHub, print_log  # isort: skip

COMPILED = "def nms(): return 'compiled'\n"
OF_ANOTHER_TORCH = "raise ImportError('undefined symbol: _ZN2at')\n"


@pytest.fixture
def another_mmcv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `mmcv` that is found instead of the installed one; nothing of that is loaded."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "mmcv"]:
        monkeypatch.delitem(sys.modules, name)
    package = tmp_path / "mmcv"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return package


def forget_mmcv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fixture's modules go, too, when the test is over."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "mmcv"]:
        monkeypatch.delitem(sys.modules, name)


def test_mmcv_lite_gets_torchvisions_operators(
    another_mmcv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not bridge.compiled()
    bridge.install()
    module = sys.modules[bridge.EXTENSION]
    assert module.__name__ == "detection.ops.extension"
    assert module.__spec__
    assert module.__spec__.loader  # or mmengine takes mmcv for incomplete
    assert not bridge.compiled()
    bridge.install()
    assert sys.modules[bridge.EXTENSION] is module
    forget_mmcv(monkeypatch)


def test_a_compiled_extension_goes_first(
    another_mmcv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (another_mmcv / "_ext.py").write_text(COMPILED)
    bridge.install()
    assert sys.modules[bridge.EXTENSION].nms() == "compiled"
    assert bridge.compiled()
    forget_mmcv(monkeypatch)


def test_an_extension_for_another_torch_is_passed_over_aloud(
    another_mmcv: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (another_mmcv / "_ext.py").write_text(OF_ANOTHER_TORCH)
    bridge.install()
    assert sys.modules[bridge.EXTENSION].__name__ == "detection.ops.extension"
    assert "undefined symbol" in caplog.text
    assert "torchvision" in caplog.text
    forget_mmcv(monkeypatch)


def test_a_fresh_process_imports_mmdet_without_warnings_output_or_handlers(
    repository: Path,
) -> None:
    code = """
import logging
from detection import openmmlab
import mmdet.models, mmdet.datasets, mmcv.ops
from mmdet.registry import MODELS
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope
assert not logging.getLogger().handlers
assert DefaultScope.get_current_instance().scope_name == "mmdet"
assert ROOT.build({"type": "FPN", "in_channels": [8], "out_channels": 4, "num_outs": 1})
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_logs_of_mmengine_go_where_ours_go(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert openmmlab
    with caplog.at_level(logging.INFO, logger="mmengine"):
        print_log("load the pretrained backbone", logger="current")
    assert [(one.name, one.getMessage()) for one in caplog.records] == [
        ("mmengine", "load the pretrained backbone")
    ]
    assert capsys.readouterr().out == ""


def checkpoint(folder: Path, content: object) -> Path:
    file = folder / "epoch_12.pth"
    torch.save(content, file)
    return file


def test_a_checkpoint_of_mmengine_is_read_with_all_that_it_keeps_beside_weights(
    tmp_path: Path,
) -> None:
    hub = MessageHub.get_instance("a test of checkpoints")
    hub.update_scalar("train/loss", np.float32(0.5))
    hub.update_scalar("train/loss", torch.tensor(0.25))
    hub.update_info("iter", 7)
    weights = {"module.backbone.conv1.weight": torch.randn(2, 3)}
    content = {
        "meta": {"epoch": 12, "time": np.float64(1.5), "dataset_meta": {"CLASSES": ("a",)}},
        "state_dict": weights,
        "message_hub": hub.state_dict(),
    }
    read = load_mmengine_checkpoint(checkpoint(tmp_path, content))
    assert list(read) == ["backbone.conv1.weight"]
    assert torch.equal(read["backbone.conv1.weight"], weights["module.backbone.conv1.weight"])


def test_bare_weights_are_read_too(tmp_path: Path) -> None:
    read = load_mmengine_checkpoint(checkpoint(tmp_path, {"neck.bias": torch.ones(3)}))
    assert torch.equal(read["neck.bias"], torch.ones(3))


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("this was run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"a": torch.ones(1)}, "meta": Harmful()}, "more than tensors .*print"),
        ({"state_dict": {}, "meta": {}}, "no weights"),
        ({"optimizer": {"a": torch.ones(1)}}, "no weights"),
        ([torch.ones(1)], "no weights"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(
    tmp_path: Path, content: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WeightsError, match=message):
        load_mmengine_checkpoint(checkpoint(tmp_path, content))
    assert capsys.readouterr().out == ""


def test_a_missing_a_cut_off_and_a_strange_file_are_named(tmp_path: Path) -> None:
    whole = checkpoint(tmp_path, {"a": torch.ones(1000)}).read_bytes()
    for name, content in (("absent", None), ("cut", whole[:-500]), ("strange", b"GIF89a" * 9)):
        file = tmp_path / f"{name}.pth"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(WeightsError, match=rf"{name}\.pth"):
            load_mmengine_checkpoint(file)


class Sly:
    def __reduce__(self) -> tuple[object, ...]:
        return (getattr, (torch.Tensor, "numpy"))


def test_getattr_gives_nothing_but_the_statistics_of_a_history(tmp_path: Path) -> None:
    file = checkpoint(tmp_path, {"state_dict": {"a": torch.ones(1)}, "meta": Sly()})
    with pytest.raises(WeightsError, match="code from a file is never run"):
        load_mmengine_checkpoint(file)
