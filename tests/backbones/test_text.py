from __future__ import annotations

import random
import string

import pytest

from backbones.errors import BackboneTextError
from backbones.text import Backbone, Call, Scalar, parse


@pytest.mark.parametrize(
    ("text", "backbone"),
    [
        ("resnet18", Backbone(Call("resnet18"), (Call("conv"),))),
        ("resnet18/conv", Backbone(Call("resnet18"), (Call("conv"),))),
        (
            "resnet18(stem=small)/spconv(alpha=0.5)+eca",
            Backbone(
                Call("resnet18", {"stem": "small"}), (Call("spconv", {"alpha": 0.5}), Call("eca"))
            ),
        ),
        (
            "mobilenetv2_100/se(reduction=8,bias=true,divisor=1)",
            Backbone(
                Call("mobilenetv2_100"),
                (Call("se", {"reduction": 8, "bias": True, "divisor": 1}),),
            ),
        ),
        (
            "vit_base_patch16_224.augreg-in21k/conv",
            Backbone(Call("vit_base_patch16_224.augreg-in21k"), (Call("conv"),)),
        ),
    ],
)
def test_text_is_read_as_written(text: str, backbone: Backbone) -> None:
    assert parse(text) == backbone


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e-4", 0.0001),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("rule", "rule"),
        ("k3557", "k3557"),
        ("3.5.7", "3.5.7"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("-infinity", "-infinity"),
    ],
)
def test_a_value_is_a_number_a_truth_or_a_word(word: str, value: Scalar) -> None:
    read = parse(f"resnet18/se(x={word})").methods[0].settings["x"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("resnet18", "resnet18/conv"),
        (" resnet18 / se ( reduction = 8 , bias = true ) + eca ", None),
        ("resnet18()/se()", "resnet18/se"),
        ("resnet18/se(x=0.50)", "resnet18/se(x=0.5)"),
        ("resnet18/se(x=2.0)", "resnet18/se(x=2)"),
        ("resnet18/se(x=1e-7)", "resnet18/se(x=1e-07)"),
        ("resnet18/se(x=007)", "resnet18/se(x=7)"),
    ],
)
def test_spaces_and_spelling_do_not_matter(written: str, printed: str | None) -> None:
    assert str(parse(written)) == (printed or "resnet18/se(reduction=8,bias=true)+eca")


def test_whatever_is_printed_reads_back_the_same() -> None:
    draw = random.Random(0)
    for _ in range(500):
        backbone = Backbone(_call(draw), tuple(_call(draw) for _ in range(draw.randint(1, 3))))
        assert parse(str(backbone)) == backbone
        assert str(parse(str(backbone))) == str(backbone)


def _call(draw: random.Random) -> Call:
    count = draw.choice([0, 0, 1, 3])
    return Call(_name(draw), {_name(draw): _scalar(draw) for _ in range(count)})


def _name(draw: random.Random) -> str:
    rest = draw.choices(string.ascii_letters + string.digits + "_", k=draw.randint(0, 9))
    return draw.choice(string.ascii_letters) + "".join(rest)


def _scalar(draw: random.Random) -> Scalar:
    kinds: list[Scalar] = [
        draw.random() < 0.5,
        draw.randint(-9999, 9999),
        draw.uniform(-9, 9),
        draw.uniform(-9, 9) * 10.0 ** draw.randint(-30, 30),
        f"w{_name(draw)}",
    ]
    return draw.choice(kinds)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"),
        ("/se", "''"),
        ("resnet18/", "''"),
        ("resnet18/se+", "''"),
        ("resnet18/+eca", "''"),
        ("18resnet/se", "'18resnet'"),
        ("resnet18/se/eca", "'se/eca'"),
        ("resnet18/se(", r"'se\('"),
        ("resnet18/se)", r"'se\)'"),
        ("resnet18/se(reduction=8", r"'se\(reduction=8'"),
        ("resnet18/se(a=(1))", r"'se\(a=\(1\)\)'"),
        ("resnet18/se eca", "'se eca'"),
        ("resnet18/se(a=1)eca", r"'se\(a=1\)eca'"),
    ],
)
def test_what_is_not_a_name_is_shown_with_an_example(text: str, part: str) -> None:
    wanted = rf"^cannot read {part} in backbone .*: expected name or name\(setting=value,...\); an "
    with pytest.raises(BackboneTextError, match=wanted) as caught:
        parse(text)
    assert repr(text) in str(caught.value)
    assert str(caught.value).endswith("resnet18(stem=small)/kernel_warehouse(budget=4)+eca")


@pytest.mark.parametrize(
    ("inside", "pair"),
    [
        ("reduction", "'reduction'"),
        ("reduction=", "'reduction='"),
        ("=8", "'=8'"),
        ("8=reduction", "'8=reduction'"),
        ("reduction=8,", "''"),
        (",", "''"),
        ("reduction=8 bias=true", "'reduction=8 bias=true'"),
        ("reduction=a b", "'reduction=a b'"),
        ("reduction==8", "'reduction==8'"),
        ("name='x'", "\"name='x'\""),
    ],
)
def test_what_is_not_a_setting_is_shown_with_an_example(inside: str, pair: str) -> None:
    with pytest.raises(BackboneTextError) as caught:
        parse(f"resnet18/se({inside})")
    message = str(caught.value)
    assert message.startswith(f"cannot read setting {pair} in backbone ")
    assert "expected name=value; an example that reads: " in message


def test_a_setting_that_stands_twice_is_refused() -> None:
    with pytest.raises(
        BackboneTextError,
        match=r"^setting 'a' stands twice in backbone 'resnet18/se\(a=1,a=2\)'$",
    ):
        parse("resnet18/se(a=1,a=2)")


def test_the_example_in_the_messages_reads() -> None:
    assert str(parse("resnet18(stem=small)/kernel_warehouse(budget=4)+eca"))
