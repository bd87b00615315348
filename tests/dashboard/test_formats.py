"""How figures are written, and in which colours."""

from __future__ import annotations

import pytest

from dashboard import formats, palette
from dashboard.palette import DARK_PAGE, LIGHT_PAGE, NEUTRAL, WHEEL, by_method


@pytest.mark.parametrize(
    ("name", "number", "text"),
    [
        ("top1_pct", 97.2, "97.20 %"),
        ("crop_pct", 0.875, "0.875"),
        ("p50_ms", 21.0, "21.0 ms"),
        ("p50_ms", 0.01234, "0.0123 ms"),
        ("p50_ms", 1234.5, "1,234 ms"),
        ("peak_memory_mib", 1536.0, "1,536.0 MiB"),
        ("seconds_total", 75.0, "1 min"),
        ("seconds_total", 3.21, "3.2 s"),
        ("params", 11_689_512, "11.69 M"),
        ("params", 512, "512"),
        ("backbone_params", 4_922_484, "4.92 M"),
        ("madds", 15_300_000_000, "15.30 G"),
        ("ratio", 1.316, "1.32\u00d7"),
        ("val_loss", 0.123456, "0.1235"),
        ("images_per_s", 1024.0, "1,024"),
        ("classes", 1000, "1,000"),
    ],
)
def test_a_figure_is_written_with_its_unit(name: str, number: float, text: str) -> None:
    assert formats.value(name, number) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("top1_pct", "Top-1"),
        ("p90_ms", "P90"),
        ("warmup_s", "Warmup"),
        ("ema", "EMA weights"),
        ("val_top5_pct", "Validation top-5"),
        ("mask_ap50_pct", "Mask AP50"),
        ("best_box_ap_pct", "Best box AP"),
        ("val_mask_ap_small_pct", "Validation mask AP small"),
    ],
)
def test_a_label_leaves_the_unit_out(name: str, text: str) -> None:
    assert formats.label(name) == text


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    shares = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", [*WHEEL, NEUTRAL])
@pytest.mark.parametrize("background", [LIGHT_PAGE, DARK_PAGE])
def test_every_colour_reads_on_both_pages(colour: str, background: str) -> None:
    bright, dark = sorted((luminance(colour), luminance(background)), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 3


def test_methods_have_different_colours_and_the_plain_one_is_neutral() -> None:
    methods = ["conv", *(f"method{number}" for number in range(len(WHEEL)))]
    colours = by_method(methods)
    assert colours["conv"] == NEUTRAL
    assert len(set(colours.values())) == len(methods)


def test_a_method_keeps_its_colour_beside_others() -> None:
    assert by_method(["eca"])["eca"] == by_method(["conv", "eca", "kernel_warehouse"])["eca"]


def test_more_methods_than_colours_still_have_one_each() -> None:
    assert set(by_method(f"method{number}" for number in range(50)).values()) <= set(WHEEL)


def test_a_series_has_the_same_colour_every_time() -> None:
    alone, beside = palette.of_series(["anything"]), palette.of_series(["anything", "val_loss"])
    assert alone["anything"] == beside["anything"]
    assert len(set(palette.of_series(["train_loss", "val_loss", "lr", "other"]).values())) == 4


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no file /a_b/*_c", r"no file /a\_b/\*\_c"),
        ("type `platform logs 3_4`", "type `platform logs 3_4`"),
        ("one ` alone_", r"one \` alone\_"),
        ("first\nsecond", "first  \nsecond"),
    ],
)
def test_text_of_others_is_shown_as_it_is(text: str, shown: str) -> None:
    assert formats.literal(text) == shown
