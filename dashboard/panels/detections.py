"""What a run found on images, beside the ground truth and beside what another run found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from convoy import detections
from convoy.errors import ConvoyError
from convoy.records import Run
from convoy.settings import load
from dashboard import opened, queries, rows
from dashboard.formats import literal
from dashboard.panels import categories
from dashboard.queries import Record
from detection.sample import Sample, halves
from jobs.errors import JobError

if TYPE_CHECKING:
    from PIL.Image import Image

_NOBODY = 0


def draw(run_id: int) -> None:
    """Draw the pictures that a run keeps, one at a time, and its scores by category."""
    with opened.explained():
        store = opened.store()
        record = queries.record(store, run_id)
        st.subheader("Predictions", anchor=False)
        if record.run.result is None:
            st.caption("Pictures of what it finds, and scores by category, appear with the result.")
            return
        other = _choose_other(record.run)
        _show_pictures(record, other)
        categories.draw(record.run, other.run if other else None)


def _choose_other(run: Run) -> Record | None:
    """Let the reader choose another run that was scored on the same images."""
    store = opened.store()
    peers = {peer.id: peer for peer in queries.peers(store, run)}
    chosen = st.selectbox(
        "Compare with",
        [_NOBODY, *peers],
        format_func=lambda number: _title(peers[number]) if number else "no other run",
        width=440,
        disabled=not peers,
        help="Finished runs that were scored on the same images.",
        key=f"detections_other_{run.id}",
    )
    return queries.record(store, chosen) if chosen else None


def _title(run: Run) -> str:
    parts = (rows.what(run), str((run.result or {}).get("facts", {}).get("detector", "")))
    return f"Run {run.id}: {', '.join(filter(None, (*parts, run.recipe)))}"


def _show_pictures(record: Record, other: Record | None) -> None:
    settings = load()
    try:
        samples = detections.samples(record.artifacts, settings)
        if not samples:
            st.caption("No pictures are kept of this run.")
            return
        sample = samples[_choose_image(samples, run_id=record.run.id)]
        found, truth = halves(detections.picture(record.artifacts, sample, settings))
        panels: dict[str, Image | None] = {f"Found by run {record.run.id}": found}
        if other:
            panels |= _found_by(other, sample)
        panels["Ground truth"] = truth
    except (ConvoyError, JobError) as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    for column, (title, picture) in zip(st.columns(len(panels)), panels.items(), strict=True):
        with column:
            st.markdown(f"**{title}**")
            if picture is None:
                st.caption("It keeps no picture of this image.")
            else:
                st.image(picture, width="content", alt=f"{title}: {sample.name}")


def _choose_image(samples: tuple[Sample, ...], *, run_id: int) -> int:
    """Return which picture to show."""
    key = f"detections_image_{run_id}"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for text, icon, by in (
            ("Previous image", ":material/chevron_left:", -1),
            ("Next image", ":material/chevron_right:", 1),
        ):
            st.button(
                text, icon=icon, on_click=_turn, args=(key, by, len(samples)), key=f"{key}_{by}"
            )
        return st.selectbox(
            "Image",
            list(range(len(samples))),
            format_func=lambda number: _describe(samples, number),
            width=440,
            key=key,
        )


def _turn(key: str, by: int, count: int) -> None:
    """Go to the next picture or the one before; after the last comes the first."""
    st.session_state[key] = (st.session_state.get(key, 0) + by) % count


def _describe(samples: tuple[Sample, ...], number: int) -> str:
    sample = samples[number]
    objects = f"{sample.objects} object{'' if sample.objects == 1 else 's'}"
    return f"{number + 1} of {len(samples)}: {sample.name}, {objects}, {sample.found} found"


def _found_by(other: Record, sample: Sample) -> dict[str, Image | None]:
    """Return what another run found on the image of a sample."""
    title, settings = f"Found by run {other.run.id}", load()
    for one in detections.samples(other.artifacts, settings):
        if one.image_id == sample.image_id:
            return {title: halves(detections.picture(other.artifacts, one, settings))[0]}
    return {title: None}
