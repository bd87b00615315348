"""What was seen in the networks of runs, kept so that it is worked out once. Loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from convoy import inspection
from convoy.records import Checkpoint, Run
from convoy.settings import Settings, load
from jobs.data.picture import Picture

if TYPE_CHECKING:
    from jobs.classify.attention import Attention

_A_WHILE_S = 600


@dataclass(frozen=True)
class Wanted:
    """What somebody asked to see.

    Attributes:
        store: Name of the store, for numbers of runs mean nothing without it.
        run: The run.
        checkpoint: One of its checkpoints.
        pictures: Images that were sent, or none.
        count: Images of the scored split, where none were sent.
        class_name: Only images of this class; empty: of all.
        as_scored: With temperatures as they stood at the checkpoint.
    """

    store: str
    run: Run
    checkpoint: Checkpoint
    pictures: tuple[Picture, ...] = ()
    count: int = 16
    class_name: str = ""
    as_scored: bool = False


@dataclass(frozen=True)
class Seen:
    """What came of it.

    Attributes:
        attention: The maps.
        pictures: The images that were shown to the network.
    """

    attention: Attention
    pictures: tuple[Picture, ...]


def _identity(wanted: Wanted) -> tuple[Any, ...]:
    images = (wanted.pictures, wanted.count, wanted.class_name)
    return (wanted.store, wanted.run.id, wanted.checkpoint.path, wanted.as_scored, *images)


# for a while only: the images of a folder may change
@st.cache_resource(
    max_entries=8, ttl=_A_WHILE_S, show_spinner=False, hash_funcs={Wanted: _identity}
)
def attend(wanted: Wanted) -> Seen:
    """Show images to the network of a checkpoint.

    Raises:
        ConvoyError: The checkpoint is gone or broken.
        JobError: An image cannot be read, or the data are not here.
    """
    settings = _settings()
    pictures = wanted.pictures or inspection.scored_pictures(
        wanted.run, settings, count=wanted.count, class_name=wanted.class_name
    )
    found = inspection.attend(
        wanted.run,
        wanted.checkpoint,
        pictures,
        settings=settings,
        as_scored=wanted.as_scored,
    )
    return Seen(found, tuple(pictures))


@st.cache_data(ttl=_A_WHILE_S, show_spinner=False)
def classes_at_hand(data: str) -> tuple[str, ...]:
    """Name the classes of a data set, if it is on this machine; else nothing."""
    return inspection.classes_at_hand(data, _settings())


def _settings() -> Settings:
    return load()
