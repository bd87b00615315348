"""Weights go in whole or not at all, and come back from safetensors bit by bit."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from backbones import weights
from backbones.build import anneal, build
from backbones.errors import WeightsError
from tests.backbones.released_lists import named

SMALL = "resnet20_cifar/odconv(kernels=2)"
OFFICIAL = "mobilenetv2_050/kernel_warehouse(budget=0.5)"
DYNAMIC = (
    "resnet20_cifar/kernel_warehouse",
    "mobilenetv2_050/kernel_warehouse(budget=0.5)",
    "resnet20_cifar/odconv(kernels=4)",
    "resnet20_cifar/dyconv",
    "resnet20_cifar/condconv(experts=4)",
    "resnet20_cifar/dcd",
    "resnet20_cifar/weightnet",
    "resnet20_cifar/cgc",
    "resnet20_cifar/se",
)


def of_size(backbone: str, *, seed: int = 0, classes: int = 10) -> nn.Module:
    return build(backbone, classes=classes, image_size=32, seed=seed).eval()


def says(network: nn.Module) -> Tensor:
    torch.manual_seed(5)
    with torch.no_grad():
        said: Tensor = network(torch.randn(2, 3, 32, 32))
    return said


def copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_untouched(network: nn.Module, before: Mapping[str, Tensor]) -> None:
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("backbone", DYNAMIC)
def test_what_is_saved_comes_back_bit_by_bit(backbone: str, tmp_path: Path) -> None:
    network, file = of_size(backbone), tmp_path / "network.safetensors"
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # norms know the images from now on
    says(network.train())
    network.eval()
    weights.save(network, file, backbone=backbone, classes=10, image_size=32)
    again, fit = weights.restore(file)
    assert torch.equal(says(network), says(again.eval()))
    assert fit.written_as == fit.backbone
    with safe_open(file, framework="pt") as opened:
        assert len(opened.keys()) == fit.tensors
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_diverged_training_left_is_refused_whole() -> None:
    network, given = of_size(SMALL), copied(of_size(SMALL, seed=1))
    given["layer1.0.conv1.weight"][0, 0, 0] = float("nan")
    before = copied(network)
    with pytest.raises(WeightsError, match=r"1 of \d+ tensors .* layer1\.0\.conv1\.weight among"):
        weights.load(network, given, backbone=SMALL)
    assert_untouched(network, before)


def test_a_shared_tensor_is_kept_once_and_stays_shared(tmp_path: Path) -> None:
    backbone = "resnet20_cifar/kernel_warehouse"
    file = tmp_path / "network.safetensors"
    network = of_size(backbone)
    weights.save(network, file, backbone=backbone, classes=10, image_size=32)
    numbers = sum(value.numel() for value in network.parameters())
    assert file.stat().st_size < 4.4 * numbers
    again, _ = weights.restore(file)
    names = [name for name in again.state_dict() if name.endswith("warehouse.cells")]
    assert len(names) == 20  # a name a layer
    assert len({again.get_parameter(name).data_ptr() for name in names}) == 3  # one a stage


@pytest.mark.parametrize(
    ("backbone", "during"), [("resnet20_cifar/kernel_warehouse", 0.99), (SMALL, 29.7)]
)
def test_our_files_say_at_which_temperature_they_stood(
    backbone: str, during: float, tmp_path: Path
) -> None:
    file = tmp_path / "network.safetensors"
    network = of_size(backbone)
    anneal(network, step=9, steps_per_epoch=100)
    weights.save(network, file, backbone=backbone, classes=10, image_size=32)
    again, fit = weights.restore(file)
    assert fit.temperature == pytest.approx(during, abs=0.1)
    assert fit.temperature_from == "file"
    assert torch.equal(says(network), says(again.eval()))


def test_what_was_released_runs_at_the_end_of_its_schedule() -> None:
    network = build(OFFICIAL)
    anneal(network, step=0, steps_per_epoch=100)
    warehouse = network.get_submodule("conv_stem.warehouse")
    assert vars(warehouse)["temperature"] == pytest.approx(1, abs=1e-3)
    fit = weights.load(network, named(OFFICIAL).drawn(), backbone=OFFICIAL)
    assert (fit.temperature, fit.temperature_from) == (0, "schedule")
    assert vars(warehouse)["temperature"] == 0


def test_asking_changes_nothing() -> None:
    network = of_size(SMALL)
    anneal(network, step=9, steps_per_epoch=100)
    before, said = copied(network), says(network)
    weights.recognise(network, of_size(SMALL, seed=1).state_dict(), backbone=SMALL)
    assert_untouched(network, before)
    assert torch.equal(says(network), said)


@pytest.mark.parametrize(
    ("key", "prefix"),
    [("", ""), ("state_dict", "module."), ("model", ""), ("model_ema", "module."), ("network", "")],
)
def test_checkpoints_wrap_weights_in_many_ways(key: str, prefix: str, tmp_path: Path) -> None:
    network, other, file = of_size(SMALL), of_size(SMALL, seed=1), tmp_path / "some.pth.tar"
    state = {prefix + name: value for name, value in other.state_dict().items()}
    extra = {"epoch": 3, "args": argparse.Namespace(lr=0.1), "best": np.float64(71.2)}
    torch.save({key: state, **extra} if key else state, file)
    fit = weights.load(network, file, backbone=SMALL)
    assert fit.part == key
    assert torch.equal(says(network), says(other))


def test_the_older_of_the_two_formats_is_read(tmp_path: Path) -> None:
    network, other, file = of_size(SMALL), of_size(SMALL, seed=1), tmp_path / "old.pth"
    torch.save(other.state_dict(), file, _use_new_zipfile_serialization=False)
    weights.load(network, file, backbone=SMALL)
    assert torch.equal(says(network), says(other))


def test_an_average_comes_before_what_it_averages() -> None:
    raw, average = of_size(SMALL, seed=1), of_size(SMALL, seed=2)
    network = of_size(SMALL)
    given = {"model": raw.state_dict(), "model_ema": average.state_dict()}
    assert weights.load(network, given, backbone=SMALL).part == "model_ema"
    assert torch.equal(says(network), says(average))


def test_our_own_checkpoints_name_a_shared_tensor_under_each_layer(tmp_path: Path) -> None:
    backbone = "resnet20_cifar/kernel_warehouse"
    network, other, file = of_size(backbone), of_size(backbone, seed=1), tmp_path / "state.pt"
    torch.save({"network": other.state_dict(), "ema": None}, file)
    fit = weights.load(network, file, backbone=backbone)
    assert fit.tensors == len(other.state_dict()) - 17
    assert torch.equal(says(network), says(other))


def test_names_of_one_tensor_may_not_disagree() -> None:
    backbone = "resnet20_cifar/kernel_warehouse"
    network = of_size(backbone)
    given = copied(network)
    twin = next(name for name in reversed(given) if name.endswith("warehouse.cells"))
    given[twin] += 1
    with pytest.raises(WeightsError, match="differs from") as refused:
        weights.load(network, given, backbone=backbone)
    assert [text.split()[0] for text in refused.value.misshapen] == [twin]


def test_running_counters_may_be_absent() -> None:
    network, other = of_size(SMALL), of_size(SMALL, seed=1)
    given = {k: v for k, v in other.state_dict().items() if not k.endswith("num_batches_tracked")}
    fit = weights.load(network, given, backbone=SMALL)
    assert len(fit.counters_absent) == len(other.state_dict()) - len(given)
    assert torch.equal(says(network), says(other))


def test_half_precision_is_widened() -> None:
    network, other = of_size(SMALL), of_size(SMALL, seed=1)
    given = {k: v.half() if v.is_floating_point() else v for k, v in other.state_dict().items()}
    weights.load(network, given, backbone=SMALL)
    assert all(p.dtype is torch.float32 for p in network.parameters())
    torch.testing.assert_close(says(network), says(other), atol=1e-2, rtol=1e-2)


def test_a_tensor_too_few_too_many_and_too_wide_are_all_named() -> None:
    network, given = build(OFFICIAL), named(OFFICIAL).drawn()
    before = copied(network)
    del given["features.0.1.weight"]
    given["features.19.weight"] = torch.ones(3)
    given["warehouse_manager.weights.9"] = torch.ones(20, 1000, 64, 1)
    with pytest.raises(WeightsError, match="OSVAI/KernelWarehouse; 1 missing") as refused:
        weights.load(network, given, backbone=OFFICIAL)
    assert refused.value.missing == ("features.0.1.weight",)
    assert refused.value.unexpected == ("features.19.weight",)
    assert refused.value.misshapen == (
        "warehouse_manager.weights.9 [20, 1000, 64, 1] for [20, 1000, 32, 1]",
    )
    assert_untouched(network, before)


def test_a_tensor_of_another_kind_of_number_is_told_with_it() -> None:
    network = of_size(SMALL)
    given = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    counter = next(name for name in given if name.endswith("num_batches_tracked"))
    given[counter] = given[counter].float()
    with pytest.raises(WeightsError, match="1 misshapen") as refused:
        weights.load(network, given, backbone=SMALL)
    assert refused.value.misshapen == (f"{counter} [] float32 for []",)


def test_long_lists_are_shortened_in_the_message_only() -> None:
    backbone = "resnet18/kernel_warehouse(budget=4)"
    network = build(backbone, device="meta")
    given = named("resnet18/kernel_warehouse(budget=1)").on_meta()
    with pytest.raises(WeightsError, match=r"42 misshapen \(.*, \.\.\.\)") as refused:
        weights.recognise(network, given, backbone=backbone)
    assert len(refused.value.misshapen) == 42  # four warehouses, two tensors a layer
    assert len(str(refused.value)) < 800
    assert "warehouse_manager.weights.0 [56, 64, 64, 1, 1] for [224, 64, 64, 1, 1]" in str(
        refused.value
    )


def test_integers_are_no_weights() -> None:
    network = of_size(SMALL)
    given = {**network.state_dict(), "fc.bias": torch.zeros(10, dtype=torch.int64)}
    with pytest.raises(WeightsError, match=r"fc.bias \[10\] int64 for \[10\]"):
        weights.load(network, given, backbone=SMALL)


def test_weights_of_another_method_fit_nothing() -> None:
    with pytest.raises(WeightsError) as refused:
        weights.recognise(
            build("resnet18/odconv", device="meta"),
            named("resnet18/dyconv").on_meta(),
            backbone="resnet18/odconv",
        )
    assert refused.value.missing
    assert refused.value.unexpected


def test_a_classifier_for_other_classes_may_stay() -> None:
    network, other = of_size(SMALL), of_size(SMALL, seed=1, classes=7)
    own = network.get_parameter("fc.weight").clone()
    given = other.state_dict()
    with pytest.raises(WeightsError, match=r"fc.weight \[7, 64\] for \[10, 64\]"):
        weights.load(network, given, backbone=SMALL)
    fit = weights.load(network, given, backbone=SMALL, own_classes=10)
    assert fit.classifier_left == ("fc.bias", "fc.weight")
    assert torch.equal(network.get_parameter("fc.weight"), own)
    assert torch.equal(network.get_parameter("conv1.weight"), other.get_parameter("conv1.weight"))


def test_a_dynamic_classifier_for_other_classes_may_stay() -> None:
    network = build(OFFICIAL, classes=10)
    fit = weights.load(network, named(OFFICIAL).drawn(), backbone=OFFICIAL, own_classes=10)
    assert "classifier.warehouse.cells" in fit.classifier_left
    assert all(name.startswith("classifier.") for name in fit.classifier_left)


class Bomb:
    """What a file could do when it is read as pickles are."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.file,))


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_file_with_code_is_refused_and_not_run(as_zip: bool, tmp_path: Path) -> None:
    file, harmed = tmp_path / "bomb.pth", tmp_path / "harmed"
    content = {"state_dict": of_size(SMALL).state_dict(), "hook": Bomb(harmed)}
    if as_zip:
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match="refused: it holds more than tensors") as refused:
        weights.load(of_size(SMALL), file, backbone=SMALL)
    assert "weights_only" not in str(refused.value), "no advice to run the code"
    assert not harmed.exists()


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
@pytest.mark.parametrize("share", [0.0, 0.002, 0.5, 0.98])
def test_a_file_that_is_cut_short_is_refused(ending: str, share: float, tmp_path: Path) -> None:
    network, file = of_size(SMALL), tmp_path / f"weights.{ending}"
    if ending == "pt":
        torch.save(network.state_dict(), file)
    else:
        weights.save(network, file, backbone=SMALL, classes=10, image_size=32)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    before = copied(network)
    with pytest.raises(WeightsError, match=r"cannot be read|is refused"):
        weights.load(network, file, backbone=SMALL)
    assert_untouched(network, before)


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "picture.pth"
    file.write_bytes(b"GIF89a")
    with pytest.raises(WeightsError, match=r"cannot be read|is refused"):
        weights.load(of_size(SMALL), file, backbone=SMALL)


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"lr": 0.1}, [1, 2]])
def test_a_file_without_weights_is_refused(content: object, tmp_path: Path) -> None:
    file = tmp_path / "none.pt"
    torch.save(content, file)
    with pytest.raises(WeightsError, match="holds no weights"):
        weights.load(of_size(SMALL), file, backbone=SMALL)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no file"):
        weights.load(of_size(SMALL), tmp_path / "none.pt", backbone=SMALL)


def test_a_safetensors_file_is_known_by_its_content(tmp_path: Path) -> None:
    network, file = of_size(SMALL, seed=1), tmp_path / "weights.bin"
    weights.save(network, file, backbone=SMALL, classes=10, image_size=32)
    other = of_size(SMALL)
    assert weights.load(other, file, backbone=SMALL).written_as == SMALL
    assert torch.equal(says(network), says(other))


def test_metadata_without_sense_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "odd.safetensors"
    tensors = of_size(SMALL).state_dict()
    for text in ("warm", "nan", "-1"):
        save_file(tensors, file, metadata={"backbone": SMALL, "temperature": text})
        with pytest.raises(WeightsError, match=f"temperature '{text}'"):
            weights.load(of_size(SMALL), file, backbone=SMALL)
    save_file(tensors, file, metadata={"backbone": SMALL, "classes": "ten", "image_size": "32"})
    with pytest.raises(WeightsError, match="classes and image size"):
        weights.restore(file)


def test_a_file_that_does_not_say_what_it_is_cannot_be_restored(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    torch.save(of_size(SMALL).state_dict(), file)
    with pytest.raises(WeightsError, match="does not say of which backbone"):
        weights.restore(file)
