"""What the blocks of a run's network make of images, and how much their maps repeat each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from backbones.errors import BackboneError
from backbones.feature_maps import FeatureMaps, Place, last_of_stages
from backbones.redundancy import ALIKE, Measure, Redundancy
from convoy.errors import ConvoyError
from dashboard import inspected, opened, similarity, tiles
from dashboard.formats import TIMES, literal
from dashboard.inspected import Opened, Wanted
from dashboard.panels import images
from jobs.errors import JobError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILES = 64
"""Maps on one page."""

_SECTION = "features"
_TOGETHER, _NUMBERED = "Like ones together", "By number"
_ACROSS, _TILE_PX = 16, 72
_PAIRS, _PAIRED_ACROSS, _PAIRED_PX, _PAIRS_WIDTH_PX = 12, 6, 94, 650
_NOTHING = "\u2013"
_CONFIG = {"displaylogo": False, "displayModeBar": "hover"}
_STILL = {"displayModeBar": False}


@dataclass(frozen=True)
class View:
    """What of a network is shown, and how."""

    place: Place
    measure: Measure
    numbered: bool


@dataclass(frozen=True)
class Scene:
    """What there is to draw.

    Attributes:
        maps: Of a block.
        alike: How much they repeat each other.
        measure: By what that was measured.
        image: Which image's maps are drawn.
    """

    maps: FeatureMaps
    alike: Redundancy
    measure: Measure
    image: int

    @property
    def values(self) -> NDArray[np.float32]:
        """The (C, H, W) maps that are drawn."""
        drawn: NDArray[np.float32] = self.maps.values[self.image]
        return drawn


def draw(run_id: int) -> None:
    """Draw the choice, and what was asked for last."""
    with opened.explained():
        shown = images.section(run_id, title="Feature maps", name=_SECTION, button="Show maps")
        if shown is not None:
            _show(shown)


def _show(wanted: Wanted) -> None:
    try:
        # torch is imported only here, when somebody asked: pages must open in a moment
        with st.spinner("Reading the network; the first time loads torch"):
            network = inspected.open_network(wanted)
        subject = network.subject
        images.draw(wanted, network.pictures, epoch=subject.epoch, ema=subject.ema, over="over")
        row = st.container(horizontal=True, vertical_alignment="bottom")
        with row:
            view = _choose_view(network, run_id=wanted.run.id)
        with st.spinner("Showing the images to the network"):
            maps = inspected.feature_maps(wanted, view.place)
            alike, together = inspected.alike(wanted, view.place, view.measure, pairs=_PAIRS)
    except (ConvoyError, JobError, BackboneError) as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    with row:
        scene = Scene(maps, alike, view.measure, _choose_image(network, maps))
    order = np.arange(maps.channels) if view.numbered else together
    _draw_figures(scene)
    _draw_alike(scene, order, numbered=view.numbered)
    _draw_maps(scene, order, run_id=wanted.run.id)


def _choose_view(network: Opened, *, run_id: int) -> View:
    stages = [place.stage for place in last_of_stages(network.places)]
    stage = st.selectbox("Stage", stages, width=90, key=f"{_SECTION}_stage_{run_id}")
    blocks = [place for place in network.places if place.stage == stage]
    place = st.selectbox(
        "Block",
        blocks,
        index=len(blocks) - 1,
        format_func=lambda place: f"{place.block} ({place.name})",
        width=240,
        key=f"{_SECTION}_block_{run_id}_{stage}",
    )
    measure = st.segmented_control(
        "Similarity",
        list(Measure),
        default=Measure.COSINE,
        format_func=str.capitalize,
        required=True,
        width="content",
        help="Maps after a ReLU are never negative, which alone makes their cosines large; "
        "Pearson's correlation takes off the mean of each map first.",
        key=f"{_SECTION}_measure",
    )
    order = st.segmented_control(
        "Order of channels",
        [_TOGETHER, _NUMBERED],
        default=_TOGETHER,
        required=True,
        width="content",
        key=f"{_SECTION}_order",
    )
    return View(place, measure, numbered=order == _NUMBERED)


def _choose_image(network: Opened, maps: FeatureMaps) -> int:
    """Let the reader choose among the images whose maps are kept."""
    return st.selectbox(
        "Drawn are the maps of",
        list(range(len(maps.values))),
        format_func=lambda index: network.pictures[index].name,
        width=220,
        key=f"{_SECTION}_image",
    )


def _draw_figures(scene: Scene) -> None:
    maps, alike, measure = scene.maps, scene.alike, scene.measure
    height, width = maps.size
    repeated, nearest = alike.repeated_pct, alike.mean_nearest
    figures = {
        "Maps": f"{maps.channels} of {height} {TIMES} {width}",
        "Repeated": _NOTHING if repeated is None else f"{repeated:.1f} %",
        "Mean nearest": _NOTHING if nearest is None else f"{nearest:.3f}",
        "Dead": str(maps.channels - alike.living),
    }
    for column, (name, text) in zip(st.columns(len(figures)), figures.items(), strict=True):
        column.metric(name, text, border=True)
    if repeated is None:
        st.info(
            "Fewer than two maps vary, so there is nothing to compare. Where maps have a single "
            "position, more images or an earlier stage help.",
            icon=":material/grid_off:",
        )
        return
    where = f"all positions in all {maps.images} images" if maps.images > 1 else "all positions"
    st.caption(
        f"*Repeated*: share of maps whose nearest other map has an absolute {measure} of at least "
        f"{ALIKE}. *Mean nearest*: mean over the maps of the absolute {measure} to the nearest "
        f"other one. Maps are compared over {where}. *Dead* maps have one value everywhere and "
        "take no part."
    )


def _draw_alike(scene: Scene, order: NDArray[np.int64], *, numbered: bool) -> None:
    maps, measure = scene.maps, scene.measure
    if not scene.alike.pairs:
        return
    with st.container(horizontal=True):
        with st.container(width=similarity.WIDTH_PX):
            st.markdown(f"**{measure.capitalize()} of each two maps**")
            st.plotly_chart(
                similarity.figure(
                    maps.statistics.similarities[measure],
                    order,
                    measure=measure,
                    numbered=numbered,
                ),
                key=f"{_SECTION}_similarity",
                config=_CONFIG,
                alt=f"{measure} of each two maps of {maps.place.name}",
            )
        with st.container(width=_PAIRS_WIDTH_PX):  # on a narrow page it goes below
            _draw_pairs(scene)


def _draw_pairs(scene: Scene) -> None:
    st.markdown(f"**Most alike**, with their {scene.measure}")
    found = []
    for pair in scene.alike.pairs:
        second = _tile(scene, pair.second)
        title = f"{pair.second} ({pair.similarity:.3f})"
        found += [_tile(scene, pair.first), replace(second, title=title)]
    st.plotly_chart(
        tiles.figure(found, across=_PAIRED_ACROSS, side_px=_PAIRED_PX, together=2),
        key=f"{_SECTION}_pairs",
        config=_STILL,
        alt=f"the most similar maps of {scene.maps.place.name}",
    )


def _draw_maps(scene: Scene, order: NDArray[np.int64], *, run_id: int) -> None:
    name, pages, page = scene.maps.place.name, -(-len(order) // TILES), 1
    st.markdown("**Maps**, each with the number of its channel")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if pages > 1:
            page = st.number_input(
                f"Page of {pages}",
                min_value=1,
                max_value=pages,
                width=140,
                key=f"{_SECTION}_page_{run_id}_{name}",
            )
        is_common = st.toggle(
            "One scale for all",
            help="Off: the strongest colour is the largest absolute value of each map by itself.",
            key=f"{_SECTION}_scale",
        )
    channels = order[(page - 1) * TILES : page * TILES]
    st.plotly_chart(
        tiles.figure(
            [_tile(scene, int(channel)) for channel in channels],
            across=_ACROSS,
            side_px=_TILE_PX,
            most=float(np.abs(scene.values).max()) if is_common else None,
        ),
        key=f"{_SECTION}_tiles",
        config=_STILL,
        alt=f"maps of {name}",
    )


def _tile(scene: Scene, channel: int) -> tiles.Tile:
    statistics = scene.maps.statistics
    nearest = int(scene.alike.nearest[channel])
    about = (
        f"channel {channel}",
        f"mean {statistics.mean[channel]:.4g}, norm {statistics.norm[channel]:.4g}",
        f"{statistics.zeros_pct[channel]:.1f} % of its values are nought",
        f"nearest: channel {nearest}" if nearest >= 0 else "dead: one value everywhere",
    )
    return tiles.Tile(scene.values[channel], str(channel), "<br>".join(about))
