"""What a run's network weighs its kernels with: start-up and attention at a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from backbones.attention_map import Map
from backbones.errors import BackboneError
from convoy.errors import ConvoyError
from convoy.records import Checkpoint
from dashboard import heat, inspected, opened, queries
from dashboard.formats import TIMES, literal
from dashboard.inspected import Seen, Wanted
from jobs.data.imagefolder import SUFFIXES
from jobs.data.picture import Picture
from jobs.errors import JobError

MOST_IMAGES = 64
"""Images shown to a network at once: it runs on this machine's processor, while a reader waits."""

_SPLIT, _SENT = "Scored images", "Own images"
_ALL = "all classes"
_GROUPS_SHOWN = 4
_WANTED = "attention_wanted"
_THUMBNAIL_PX = 48
_CONFIG = {"displaylogo": False, "displayModeBar": "hover"}


def draw(run_id: int) -> None:
    """Draw the choice, and what was asked for last."""
    with opened.explained():
        store = opened.store()
        record = queries.record(store, run_id)
        st.subheader("Kernel attention", anchor=False)
        if not record.checkpoints:
            st.caption("No checkpoint is kept of this run, so there is no network to look into.")
            return
        wanted = _choose(store.id, record)
        if wanted is not None:
            st.session_state[_WANTED] = wanted
        shown: Wanted | None = st.session_state.get(_WANTED)
        if shown is not None and shown.run.id == run_id:
            _show(shown)


def _choose(store: str, record: queries.Record) -> Wanted | None:
    """Return what to show once the button is pressed."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        checkpoint = st.selectbox(
            "Checkpoint",
            list(reversed(record.checkpoints)),
            format_func=_checkpoint_text,
            width=220,
        )
        source = st.segmented_control(
            "Images", [_SPLIT, _SENT], default=_SPLIT, required=True, width="content"
        )
        count, class_name = _choose_scored(record.run.data) if source == _SPLIT else (0, "")
        as_scored = st.toggle(
            "Temperature of that step",
            help="Methods anneal a temperature while they train. Off: as it ends, so that the "
            "attention stands alone. On: as it stood when this checkpoint was scored.",
        )
    pictures = _choose_own() if source == _SENT else ()
    pressed = st.button("Show attention", type="primary", disabled=source == _SENT and not pictures)
    if not pressed:
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


def _choose_scored(data: str) -> tuple[int, str]:
    count = st.number_input(
        "How many",
        min_value=1,
        max_value=MOST_IMAGES,
        value=16,
        width=120,
        help="The first images of the split that the run is scored on, its classes in turn.",
    )
    classes = inspected.classes_at_hand(data)
    if not classes:
        return count, ""
    chosen = st.selectbox("Class", [_ALL, *classes], width=180)
    return count, "" if chosen == _ALL else chosen


def _choose_own() -> tuple[Picture, ...]:
    files = st.file_uploader(
        f"Image files, at most {MOST_IMAGES}",
        type=sorted(suffix.removeprefix(".") for suffix in SUFFIXES),
        accept_multiple_files=True,
    )
    if len(files) > MOST_IMAGES:
        st.warning(f"Only the first {MOST_IMAGES} of {len(files)} images are shown to the network.")
    return tuple(Picture(file.name, file.getvalue()) for file in files[:MOST_IMAGES])


def _checkpoint_text(checkpoint: Checkpoint) -> str:
    return f"step {checkpoint.step:,} (attempt {checkpoint.attempt})"


def _show(wanted: Wanted) -> None:
    try:
        # torch is imported only here, when somebody asked: pages must open in a moment
        with st.spinner("Showing the images to the network; the first time loads torch"):
            seen = inspected.attend(wanted)
    except (ConvoyError, JobError, BackboneError) as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    _caption(wanted, seen)
    groups: dict[str, list[Map]] = {}
    for one in seen.attention.maps:
        groups.setdefault(one.group, []).append(one)
    for name in _choose_groups(list(groups)):
        _draw_group(name, groups[name])


def _caption(wanted: Wanted, seen: Seen) -> None:
    pictures = seen.pictures
    many = f"mean of {len(pictures)} images" if len(pictures) > 1 else pictures[0].name
    weights = "averaged (EMA) weights" if seen.attention.ema else "raw weights"
    parts = (_checkpoint_text(wanted.checkpoint), f"epoch {seen.attention.epoch}", weights, many)
    st.caption(literal(" · ".join(parts)))
    with st.container(horizontal=True, gap="small"):
        for picture in pictures:
            st.image(picture.decode(), width=_THUMBNAIL_PX)


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
