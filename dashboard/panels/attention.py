"""What a run's network weighs by the image at a checkpoint: kernels, channels or branches."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from backbones.attention_map import Map
from backbones.errors import BackboneError
from convoy.errors import ConvoyError
from dashboard import heat, inspected, opened
from dashboard.formats import TIMES, literal
from dashboard.inspected import Wanted
from dashboard.panels import images
from jobs.errors import JobError

_SECTION = "attention"
_GROUPS_SHOWN = 4
_CONFIG = {"displaylogo": False, "displayModeBar": "hover"}


def draw(run_id: int) -> None:
    """Draw the choice, and what was asked for last."""
    with opened.explained():
        shown = images.section(
            run_id, title="Attention", name=_SECTION, button="Show attention", temperature=True
        )
        if shown is not None:
            _show(shown)


def _show(wanted: Wanted) -> None:
    try:
        # torch is imported only here, when somebody asked: pages must open in a moment
        with st.spinner("Showing the images to the network; the first time loads torch"):
            seen = inspected.attend(wanted)
    except (ConvoyError, JobError, BackboneError) as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    found = seen.attention
    images.draw(wanted, seen.pictures, epoch=found.epoch, ema=found.ema, over="mean of")
    groups: dict[str, list[Map]] = {}
    for one in found.maps:
        groups.setdefault(one.group, []).append(one)
    for name in _choose_groups(list(groups)):
        _draw_group(name, groups[name])


def _choose_groups(names: Sequence[str]) -> list[str]:
    if len(names) <= _GROUPS_SHOWN:
        return list(names)
    return st.multiselect(f"Shown of {len(names)}", names, default=names[:_GROUPS_SHOWN])


def _draw_group(name: str, maps: Sequence[Map]) -> None:
    rows, columns = maps[0].values.shape
    axes = f"{rows} {maps[0].rows.label}s {TIMES} {columns} {maps[0].columns.label}s"
    st.markdown(f"**{literal(name)}** · {axes}")
    st.plotly_chart(
        heat.figure(maps),
        key=f"attention_{name}",
        config=_CONFIG,
        alt=f"{' and '.join(one.title for one in maps)} of {name}",
    )
