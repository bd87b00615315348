from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from convoy import models
from convoy.errors import StoreAwayError, StoreError
from convoy.models import attempts, leaders
from convoy.records import Point
from convoy.states import Outcome, Phase, RunState
from convoy.store import Store


@pytest.fixture
def url(postgres: Any, postgres_template: str) -> Iterator[str]:
    """A store on PostgreSQL."""
    with postgres.database(template=postgres_template) as name:
        yield postgres.url(name)


def test_a_restart_of_the_database_is_lived_through(
    postgres: Any, url: str, new_run: Callable[..., Any]
) -> None:
    with Store.open(url, timeout_s=2) as store:
        [run] = store.submit([new_run(), new_run()])[:1]
        term = store.lead("a", host="h", pid=1, capacity={}, lease_s=60)
        assert term is not None
        store.claim(run.id, dispatcher="a", term=term, deadline_s=60)
        store.begin(run.id, 1, node="n", pid=1, environment={}, lease_s=60)

        postgres.stop()
        try:
            for call in (store.counts, lambda: store.renew(run.id, 1, lease_s=60)):
                with pytest.raises(StoreAwayError, match=r"does not answer|lost the connection"):
                    call()
        finally:
            postgres.start()

        assert store.renew(run.id, 1, lease_s=60).stop == ""
        assert store.end(run.id, 1, outcome=Outcome.SUCCEEDED, result={}).result == {}


def test_a_connection_that_was_idle_during_a_restart_is_replaced_unseen(
    postgres: Any, url: str
) -> None:
    with Store.open(url) as store:
        before = store.now()
        postgres.stop()
        postgres.start()
        assert store.now() > before


def test_after_an_outage_nobody_is_taken_for_lost_before_a_full_lease(
    postgres: Any, url: str, new_run: Callable[..., Any]
) -> None:
    with Store.open(url, timeout_s=2) as store:
        [run] = store.submit([new_run()])

        def lead() -> int:
            term = store.lead("a", host="h", pid=1, capacity={}, lease_s=60)
            assert term is not None
            return term

        def shift(table: Any, column: str) -> None:
            """Let a minute pass."""
            with store._writing() as connection:
                moment = connection.execute(select(table.c[column])).scalar_one()
                earlier = {column: moment - timedelta(seconds=61)}
                connection.execute(update(table).values(earlier))

        store.claim(run.id, dispatcher="a", term=lead(), deadline_s=60)
        store.begin(run.id, 1, node="n", pid=1, environment={}, lease_s=1)
        postgres.stop()
        try:
            with pytest.raises(StoreAwayError):
                lead()
        finally:
            postgres.start()
        shift(attempts, "lease_until")  # it ran out while the store was away
        lead()
        assert store.overdue() == []
        lead()
        assert store.overdue() == []
        shift(leaders, "grace_until")
        [overdue] = store.overdue()
        assert overdue.run_id == run.id


def grants(role: str) -> list[str]:
    """The statements that the docstring of the tables' module promises to be enough."""
    found = re.findall(rf"^    (GRANT [^;]* TO {role});$", models.__doc__ or "", flags=re.MULTILINE)
    return [" ".join(textwrap.dedent(statement).split()) for statement in found]


def test_each_role_can_do_its_part_with_the_rights_that_are_documented(
    postgres: Any, url: str, new_run: Callable[..., Any]
) -> None:
    database = url.split("?")[0].rpartition("/")[2]
    for role in ("convoy_dispatcher", "convoy_attempt", "convoy_dashboard"):
        postgres.execute(f"CREATE ROLE {role} LOGIN")
        assert grants(role), role
        for statement in grants(role):
            postgres.execute(statement, database=database)

    def opened(role: str) -> Store:
        return Store.open(url.replace("postgres:@", f"{role}@"))

    with (
        opened("convoy_dispatcher") as dispatcher,
        opened("convoy_attempt") as attempt,
        opened("convoy_dashboard") as dashboard,
    ):
        first, second = dispatcher.submit([new_run(key="k"), new_run()])
        dispatcher.submit([new_run(depends_on=(first.id,))])
        term = dispatcher.lead("a", host="h", pid=1, capacity={}, lease_s=60)
        assert term is not None
        dispatcher.explain_waiting({})
        dispatcher.claim(first.id, dispatcher="a", term=term, deadline_s=60)

        attempt.begin(first.id, 1, node="n", pid=1, environment={}, lease_s=60)
        attempt.set_phase(first.id, 1, Phase.RUNNING)
        point = Point(1, 1, 0.5, attempt.now())
        attempt.progress(first.id, 1, step=1, points={"val_loss": [point]})
        attempt.append_log(first.id, 1, rank=0, text="line\n")
        for path in ("a", "b"):
            attempt.add_checkpoint(first.id, 1, step=1, path=path, size_mib=1.0)
        attempt.drop_checkpoint(first.id, "a", number=1)
        for path in ("x", "y"):
            attempt.add_artifact(first.id, 1, name="model", path=path, size_mib=1.0)
        attempt.renew(first.id, 1, lease_s=60)
        attempt.end(first.id, 1, outcome=Outcome.SUCCEEDED, result={})

        dispatcher.release(first.id, 1)
        assert dispatcher.request_cancel(second.id).state is RunState.CANCELLED
        dispatcher.resign("a", term=term)
        assert len(dashboard.runs()) == 3
        assert dashboard.log(first.id)
        for stranger in (attempt, dashboard):
            with pytest.raises(StoreError, match="rights"):
                stranger.submit([new_run()])
        with pytest.raises(StoreError, match="rights"):
            dashboard.request_cancel(first.id)
