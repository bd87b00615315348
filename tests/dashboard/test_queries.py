"""What the pages ask of the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from convoy.errors import RunNotFoundError
from convoy.records import Filter
from convoy.settings import load
from convoy.states import RunState
from convoy.store import Store
from dashboard import queries
from tests.dashboard.conftest import Filled


@pytest.fixture
def store(filled: Filled) -> Iterator[Store]:
    opened = Store.open(load({"CONVOY_HOME": str(filled.home)}).store_url)
    yield opened
    opened.close()


def test_pages_of_runs_follow_each_other_without_gap_or_repetition(store: Store) -> None:
    seen, before = [], None
    while True:
        page = queries.listing(store, Filter(), limit=7, before=before)
        seen += [run.id for run in page.runs]
        if page.older is None:
            break
        before = page.older
    assert seen == list(range(seen[0], 0, -1))


def test_a_page_that_ends_with_the_last_run_has_none_older(store: Store) -> None:
    total = queries.overview(store).total
    assert queries.listing(store, Filter(), limit=total, before=None).older is None
    assert queries.listing(store, Filter(), limit=total - 1, before=None).older == 2


def test_every_state_is_counted_even_where_no_run_is_in_it(store: Store) -> None:
    counts = queries.overview(store).counts
    assert list(counts) == list(RunState)


def test_waiting_runs_without_a_living_dispatcher_stand_still(store: Store) -> None:
    alive = queries.overview(store)
    assert not alive.stands_still
    assert queries.Overview(alive.counts, ()).stands_still


def test_the_log_is_read_to_its_end_and_on_from_there(store: Store, filled: Filled) -> None:
    pieces = list(queries.log(store, filled.runs["resumed"], after=0))
    text = "".join(piece.text for piece in pieces)
    assert "attempt 1 of" in text
    assert "attempt 2 of" in text
    assert not list(queries.log(store, filled.runs["resumed"], after=pieces[-1].cursor))


def test_a_run_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(RunNotFoundError, match="9999"):
        queries.record(store, 9999)
