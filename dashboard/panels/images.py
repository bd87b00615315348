"""What sections on a run's network share: checkpoint and images to choose, and what they were."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from convoy.records import Checkpoint
from dashboard import inspected, opened, queries
from dashboard.formats import literal
from dashboard.inspected import Wanted
from jobs.data.imagefolder import SUFFIXES
from jobs.data.picture import Picture

MOST_IMAGES = 64
"""Images shown to a network at once: it runs on this machine's processor, while a reader waits."""

_SPLIT, _SENT = "Scored images", "Own images"
_ALL = "all classes"
_THUMBNAIL_PX = 48


def section(
    run_id: int, *, title: str, name: str, button: str, temperature: bool = False
) -> Wanted | None:
    """Draw a section's heading and choice; return what was asked for last.

    Args:
        run_id: Of the run whose page it is.
        title: Of the section.
        name: Tells its fields from those of another section.
        button: What is written on the button.
        temperature: As for `choose`.
    """
    store = opened.store()
    record = queries.record(store, run_id)
    st.subheader(title, anchor=False)
    if not record.checkpoints:
        st.caption("No checkpoint is kept of this run, so there is no network to look into.")
        return None
    kept = f"{name}_wanted"
    wanted = choose(store.id, record, section=name, button=button, temperature=temperature)
    if wanted is not None:
        st.session_state[kept] = wanted
    shown: Wanted | None = st.session_state.get(kept)
    return shown if shown is not None and shown.run.id == run_id else None


def choose(
    store: str, record: queries.Record, *, section: str, button: str, temperature: bool
) -> Wanted | None:
    """Let the reader choose; return what to show once the button is pressed.

    Args:
        store: Name of the store.
        record: Of the run; it has checkpoints.
        section: Tells the fields of one section of the page from those of another.
        button: What is written on the button.
        temperature: Whether the reader may choose how a schedule of the method stands; if not, it
            stands as at the checkpoint.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        checkpoint = st.selectbox(
            "Checkpoint",
            list(reversed(record.checkpoints)),
            format_func=checkpoint_text,
            width=220,
            key=f"{section}_checkpoint",
        )
        source = st.segmented_control(
            "Images",
            [_SPLIT, _SENT],
            default=_SPLIT,
            required=True,
            width="content",
            key=f"{section}_source",
        )
        count, class_name = (0, "")
        if source == _SPLIT:
            count, class_name = _choose_scored(record.run.data, section=section)
        as_scored = _choose_temperature(section) if temperature else True
    pictures = _choose_own(section) if source == _SENT else ()
    nothing = source == _SENT and not pictures
    if not st.button(button, type="primary", disabled=nothing, key=f"{section}_button"):
        return None
    return Wanted(
        store=store,
        run=record.run,
        checkpoint=checkpoint,
        pictures=pictures,
        count=count,
        class_name=class_name,
        as_scored=as_scored,
    )


def _choose_temperature(section: str) -> bool:
    return st.toggle(
        "Temperature of that step",
        help="Methods anneal a temperature while they train. Off: as it ends, so that the "
        "attention stands alone. On: as it stood when this checkpoint was scored.",
        key=f"{section}_temperature",
    )


def _choose_scored(data: str, *, section: str) -> tuple[int, str]:
    count = st.number_input(
        "How many",
        min_value=1,
        max_value=MOST_IMAGES,
        value=16,
        width=120,
        help="The first images of the split that the run is scored on, its classes in turn.",
        key=f"{section}_count",
    )
    classes = inspected.classes_at_hand(data)
    if not classes:
        return count, ""
    chosen = st.selectbox("Class", [_ALL, *classes], width=180, key=f"{section}_class")
    return count, "" if chosen == _ALL else chosen


def _choose_own(section: str) -> tuple[Picture, ...]:
    files = st.file_uploader(
        f"Image files, at most {MOST_IMAGES}",
        type=sorted(suffix.removeprefix(".") for suffix in SUFFIXES),
        accept_multiple_files=True,
        key=f"{section}_files",
    )
    if len(files) > MOST_IMAGES:
        st.warning(f"Only the first {MOST_IMAGES} of {len(files)} images are shown to the network.")
    return tuple(Picture(file.name, file.getvalue()) for file in files[:MOST_IMAGES])


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """Name a checkpoint."""
    return f"step {checkpoint.step:,} (attempt {checkpoint.attempt})"


def draw(wanted: Wanted, pictures: Sequence[Picture], *, epoch: int, ema: bool, over: str) -> None:
    """Say what was looked at, and draw the images.

    Args:
        wanted: What was asked for.
        pictures: The images.
        epoch: Epochs that the network was trained for.
        ema: Whether it has averaged weights.
        over: What is done with several images, such as ``mean of``.
    """
    many = f"{over} {len(pictures)} images" if len(pictures) > 1 else pictures[0].name
    weights = "averaged (EMA) weights" if ema else "raw weights"
    parts = (checkpoint_text(wanted.checkpoint), f"epoch {epoch}", weights, many)
    st.caption(literal(" · ".join(parts)))
    with st.container(horizontal=True, gap="small"):
        for picture in pictures:
            st.image(picture.decode(), width=_THUMBNAIL_PX)
