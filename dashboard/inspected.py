"""What was seen in the networks of runs, kept so that it is worked out once. Loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from backbones import feature_maps as feature_map
from backbones.feature_maps import FeatureMaps, Place
from backbones.redundancy import Measure, Redundancy, redundancy
from convoy import inspection
from convoy.records import Checkpoint, Run
from convoy.settings import Settings, load
from dashboard.similarity import alike_together
from jobs.data.picture import Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jobs.classify.attention import Attention
    from jobs.classify.subject import Subject

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
    pictures = _pictures(wanted, settings)
    found = inspection.attend(
        wanted.run,
        wanted.checkpoint,
        pictures,
        settings=settings,
        as_scored=wanted.as_scored,
    )
    return Seen(found, pictures)


@dataclass(frozen=True)
class Opened:
    """A network that was read, with the images to be shown to it.

    Attributes:
        subject: Both, ready.
        places: The blocks whose maps can be looked at.
        pictures: The images.
        lock: One reader at a time looks at it, for looking attaches hooks.
    """

    subject: Subject
    places: tuple[Place, ...]
    pictures: tuple[Picture, ...]
    lock: Lock


# few: a network and its images may take hundreds of MiB
@st.cache_resource(
    max_entries=2, ttl=_A_WHILE_S, show_spinner=False, hash_funcs={Wanted: _identity}
)
def open_network(wanted: Wanted) -> Opened:
    """Read the network of a checkpoint as it was scored.

    Raises:
        ConvoyError: The checkpoint is gone or broken.
        JobError: An image cannot be read, or the data are not here.
        BackboneError: It has no blocks to look at.
    """
    settings = _settings()
    pictures = _pictures(wanted, settings)
    subject = inspection.open_network(wanted.run, wanted.checkpoint, pictures, settings=settings)
    places = feature_map.places(
        wanted.run.backbone, image_size=subject.images.shape[-1], classes=subject.classes
    )
    return Opened(subject, tuple(places), pictures, Lock())


# few likewise: maps of up to 64 MiB and two matrices of channels by channels each
@st.cache_resource(
    max_entries=4, ttl=_A_WHILE_S, show_spinner=False, hash_funcs={Wanted: _identity}
)
def feature_maps(wanted: Wanted, place: Place) -> FeatureMaps:
    """Show the images to the network and return what one of its blocks makes of them.

    Raises:
        ConvoyError, JobError, BackboneError: As `open_network`.
        BackboneError: The block returns no maps.
    """
    network = open_network(wanted)
    with network.lock:
        (found,) = feature_map.look(network.subject.network, network.subject.images, [place])
    return found


@st.cache_resource(
    max_entries=16, ttl=_A_WHILE_S, show_spinner=False, hash_funcs={Wanted: _identity}
)
def alike(
    wanted: Wanted, place: Place, measure: Measure, *, pairs: int
) -> tuple[Redundancy, NDArray[np.int64]]:
    """Return how alike the maps of a block are, and an order with like ones together.

    Args:
        wanted: Network and images.
        place: The block.
        measure: How maps are compared.
        pairs: So many of the most similar pairs are listed.

    Raises:
        ConvoyError, JobError, BackboneError: As `feature_maps`.
    """
    statistics = feature_maps(wanted, place).statistics
    order = alike_together(statistics.similarities[measure], statistics.dead)
    return redundancy(statistics, measure=measure, pairs=pairs), order


def _pictures(wanted: Wanted, settings: Settings) -> tuple[Picture, ...]:
    """Return the images that were sent, or those that the run is scored on."""
    return wanted.pictures or tuple(
        inspection.scored_pictures(
            wanted.run, settings, count=wanted.count, class_name=wanted.class_name
        )
    )


@st.cache_data(ttl=_A_WHILE_S, show_spinner=False)
def classes_at_hand(data: str) -> tuple[str, ...]:
    """Name the classes of a data set, if it is on this machine; else nothing."""
    return inspection.classes_at_hand(data, _settings())


def _settings() -> Settings:
    return load()
