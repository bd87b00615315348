from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backbones import method as registry
from backbones.cost import cost
from backbones.resolve import resolve
from jobs import studies
from jobs.errors import SpecError
from jobs.studies import Study, StudyRow

PAPERS = {
    *("eca-resnet-100e", "eca-mobilenetv2-400e", "eca-dissection", "eca-kernels"),
    "cbam-resnet-100e",
    *("kw-resnet18-300e", "kw-resnet50-300e", "kw-convnext-300e", "kw-mobilenetv2-150e"),
    *("kw-deit-tiny", "kw-convnext-stage3", "kw-ablation-attention", "kw-ablation-startup"),
    *("kw-ablation-partition", "kw-ablation-sharing", "kw-ablation-cells"),
    *("resnet18-100e", "resnet50-100e", "resnet101-100e"),
    *("od-resnet-100e", "od-mobilenetv2-150e"),
    *("dcd-resnet50-120e", "dcd-resnet18", "dcd-mobilenetv2-300e", "cgc-resnet50"),
    *("dyconv-imagenet", "dyconv-mobilenetv2-widths", "dyconv-temperature"),
    *("condconv-imagenet", "condconv-efficientnet", "weightnet-shufflenet"),
    *("spconv-resnet50-90e", "spconv-resnet-90e", "spconv-cifar10-resnet20", "spconv-ablation"),
    *("spconv-cifar10-vgg16", "spconv-cifar10-resnet56", "spconv-cifar100"),
    *("hetconv-cifar10-vgg16", "ghost-cifar10-vgg16", "ghost-cifar10-resnet56"),
    *("antnet-imagenet", "antnet-cifar100"),
    *("addressnet-cifar100", "addressnet-cifar10", "addressnet-imagenet"),
    *("dicenet-120e", "dicenet-light-120e"),
    *("kw-mask-rcnn-1x", "kw-mask-rcnn-1x-convnext", "od-faster-rcnn-1x", "od-mask-rcnn-1x"),
    *("eca-faster-rcnn-1x", "eca-mask-rcnn-1x"),
}

COUNTS = {
    "addressnet_20_add/conv": 159_256,
    "addressnet_44_add/conv": 294_552,
    "deit_tiny_patch16_224/conv": 5_717_416,
    "deit_tiny_patch16_224/kernel_warehouse(budget=4)": 24_497_848,
    "efficientnet_b0/conv": 5_288_548,
    "efficientnet_b1/conv": 7_794_184,
    "enhanced_addressnet/conv": 2_668_552,
    "mobilenetv1_100/condconv": 24_398_664,
    "mobilenetv2_035/conv": 1_677_128,
    "mobilenetv2_050/dyconv(schedule=constant)": 4_573_536,
    "mobilenetv2_050/dyconv(schedule=constant,temperature=1)": 4_573_536,
    "mobilenetv2_050/dyconv(schedule=constant,temperature=10)": 4_573_536,
    "mobilenetv2_050/dyconv(schedule=constant,temperature=20)": 4_573_536,
    "mobilenetv2_050/dyconv(schedule=constant,temperature=40)": 4_573_536,
    "mobilenetv2_050/dyconv(schedule=constant,temperature=5)": 4_573_536,
    "mobilenetv2_050/dyconv(schedule=linear)": 4_573_536,
    "mobilenetv2_100_cifar/ant": 3_820_584,
    "mobilenetv2_100_cifar/conv": 3_504_872,
    "mobilenetv3_small_100/conv": 2_542_856,
    "resnet18/kernel_warehouse(attention=none)": 11_932_148,
    "resnet18/kernel_warehouse(attention=sigmoid)": 11_932_148,
    "resnet18/kernel_warehouse(attention=softmax)": 11_932_148,
    "resnet18/kernel_warehouse(budget=4,startup=several_to_one)": 45_862_085,
    "resnet18/kernel_warehouse(cell_out_ratio=0.5,cell_in_ratio=0.5)": 14_229_596,
    "resnet18/kernel_warehouse(partition=false)": 11_777_580,
    "resnet18/kernel_warehouse(sharing=layer)": 11_805_134,
    "resnet18/kernel_warehouse(sharing=none)": 11_782_094,
    "resnet18/kernel_warehouse(startup=all_to_one)": 11_932_148,
    "resnet18/kernel_warehouse(startup=none)": 11_932_148,
    "resnet18/kernel_warehouse(startup=one_to_two)": 11_932_148,
    "resnet20_cifar/ghost": 205_368,
    "resnet20_cifar/gwc_pwc": 166_072,
    "resnet20_cifar/hetconv": 158_648,
    "resnet20_cifar/shift(boundary=wrap)": 134_728,
    "resnet20_cifar/shift(directions=9)": 134_728,
    "resnet20_cifar/shift(distance=0)": 134_728,
    "resnet20_cifar/spconv(alpha=0.125-0.25-0.5)": 160_504,
    "resnet20_cifar/spconv(alpha=0.5-0.25-0.125)": 125_080,
    "resnet20_cifar/spconv(fusion=sum)": 169_432,
    "resnet20_cifar/spconv(groups=1)": 236_248,
    "resnet20_cifar/spconv(groups=4)": 136_024,
    "resnet20_cifar/spconv(pointwise=false)": 154_584,
    "resnet50/cbam(channel=false)": 25_558_632,
    "resnet50/cbam(kernel=3)": 28_088_344,
    "resnet50/cbam(spatial=false)": 28_088_024,
    "resnet50/condconv": 129_865_800,
    "resnet50/eca(kernels=3377)": 25_557_116,
    "resnet50/eca(kernels=5)": 25_557_112,
    "resnet50/hetconv": 18_012_200,
    "resnet50/shift": 15_801_000,
    "resnet18/shift": 3_164_840,
    "resnet44_cifar/conv": 725_688,
    "resnet50/octconv(alpha=0.125)": 25_557_032,
    "resnet50/octconv(alpha=0.25)": 25_557_032,
    "resnet50/octconv(alpha=0.75)": 25_557_032,
    "resnet56_cifar/ghost(dw=1)": 495_960,
    "resnet56_cifar/gwc_pwc": 378_424,
    "resnet56_cifar/hetconv": 354_872,
    "semnasnet_100/condconv": 20_784_030,
    "semnasnet_100/conv": 3_887_038,
    "shufflenet_v2_x0_5/conv": 1_366_792,
    "vgg16_cifar/hetconv(parts=16)": 3_238_312,
    "vgg16_cifar/hetconv(parts=2)": 8_958_376,
    "vgg16_cifar/hetconv(parts=32)": 2_829_736,
    "vgg16_cifar/hetconv(parts=64)": 2_625_448,
}
"""Parameters (for 1000 classes) of rows for which no source prints any. Those of the others are in
published.json, which the tests of the methods hold to what is built, and those of detectors to what
is built of them."""


def every_row() -> Iterator[tuple[Study, StudyRow]]:
    for name in studies.names():
        study = studies.get(name)
        for row in study.rows:
            yield study, row


def printed_counts(backbone: str) -> list[float]:
    names = [name for name, _ in resolve(backbone).methods]
    rows = [row for name in names for row in registry.published(name)]
    found = [row for row in rows if row.backbone == backbone and row.task == "classify"]
    return [count for row in found if (count := row.params_exact or row.params_m)]


def test_every_published_table_is_a_study() -> None:
    assert set(studies.names()) >= PAPERS


@pytest.mark.parametrize("name", studies.names())
def test_a_study_has_a_title_and_each_network_with_its_baseline(name: str) -> None:
    study = studies.get(name)
    assert study.name == name
    assert study.title
    assert study.paper
    resolved = [resolve(text) for text in study.by_backbone]
    plain = {str(one.plain) for one in resolved}
    assert plain <= set(study.by_backbone)


def test_the_parameters_of_every_row_are_held_somewhere() -> None:
    texts = {row.backbone for _, row in every_row()}
    assert {text for text in texts if not printed_counts(text)} == COUNTS.keys()


@pytest.mark.parametrize("backbone", COUNTS)
def test_a_row_fits_its_network_and_has_its_parameters(backbone: str) -> None:
    assert cost(backbone).params == COUNTS[backbone]


def test_a_study_that_names_a_source_finds_figures_there() -> None:
    for study in map(studies.get, studies.names()):
        found = [
            one
            for text in study.by_backbone
            for name, _ in resolve(text).methods
            for one in registry.published(name)
            if one.backbone == text
            and one.source.startswith(study.source)
            and one.task == study.task
        ]
        assert found or not study.source, study.name
        figures = [one.backbone for one in found if one.dataset == study.dataset]
        assert len(figures) == len(set(figures)) or not study.source, study.name


def test_a_row_is_not_left_out_of_its_table() -> None:
    """Every row that a table's source prints of a network in the study is one of its rows."""
    for study in map(studies.get, studies.names()):
        networks = {resolve(text).network for text in study.by_backbone}
        for name in registry.modules() if study.source else ():
            for row in registry.published(name):
                wanted = row.source.startswith(study.source) and row.dataset == study.dataset
                wanted = wanted and row.task == study.task
                network = resolve(row.backbone).network
                is_scored = row.top1_pct is not None or row.box_ap_pct is not None
                if wanted and is_scored and network in networks:
                    elsewhere = any(
                        row.backbone in other.by_backbone and row.source.startswith(other.source)
                        for other in map(studies.get, studies.names())
                        if other.source and other.task == study.task
                    )
                    assert row.backbone in study.by_backbone or elsewhere, (study.name, row)


OWN = """
title: Two rows on digits
data: digits
dataset: digits
recipe: {base: digits_quick, epochs: 1, warmup_epochs: 0}
rows:
  - resnet20_cifar/conv
  - backbone: resnet20_cifar/eca()
    note: mine
"""


def test_a_file_of_one_s_own_is_a_study(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(OWN)
    study = studies.read(file)
    assert study.name == "mine"
    assert (study.recipe.epochs, study.recipe.name) == (
        1,
        "digits_quick(epochs=1,warmup_epochs=0)",
    )
    assert list(study.by_backbone) == ["resnet20_cifar/conv", "resnet20_cifar/eca"]
    assert study.by_backbone["resnet20_cifar/eca"].note == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eca()": "ecaa"}, r"rows.1.backbone: .*unknown method 'ecaa'; did you mean eca"),
        ({"digits_quick": "digit_quick"}, "recipe: unknown recipe 'digit_quick'"),
        ({"title:": "titel:"}, "titel: no such field; did you mean title"),
        ({"resnet20_cifar/eca()": "resnet20_cifar/conv"}, "rows: resnet20_cifar/conv stands twice"),
        ({OWN: "title: nothing\nrecipe: digits_quick\nrows: []"}, "rows: .*at least 1"),
        ({OWN: "- a"}, "holds list; expected a mapping with title, recipe and rows"),
        ({OWN: "title: {"}, "is not YAML"),
    ],
)
def test_a_wrong_file_says_what_would_do(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    text = OWN
    for old, new in changes.items():
        text = text.replace(old, new)
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=message):
        studies.read(file)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read study file .*none.yaml"):
        studies.read(tmp_path / "none.yaml")


def test_a_file_cannot_take_the_name_of_another_study(tmp_path: Path) -> None:
    file = tmp_path / "kw-resnet18-300e.yaml"
    file.write_text(OWN)
    with pytest.raises(SpecError, match="give this one a `name` of its own"):
        studies.read(file)


def test_an_unknown_study_names_near_ones() -> None:
    with pytest.raises(SpecError, match="did you mean kw-resnet18-300e"):
        studies.get("kw-resnet18-300")
