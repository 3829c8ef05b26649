"""What runs often reads by an index, however many rows there are. SQLite says what it will do without having seen any row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, select

from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.core.routing import Need
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.families import Family
from secateur.store.ledger import JobLedger
from secateur.store.tables import Base, Deletable, JobRow
from tests.support.store import PROJECT, Clock, a_plan, a_report, a_spec, claim, create

TABLE_SCAN = re.compile(rf"SCAN ({'|'.join(Base.metadata.tables)})\b")


@pytest.fixture
def store(sqlite_url: str, clock: Clock) -> Iterator[Store]:
    store = Store(sqlite_url, clock=clock)
    yield store
    store.close()


@contextmanager
def table_scans() -> Iterator[list[str]]:
    """Collects the statements of the block that read a whole table."""
    found: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            plan = connection.connection.cursor().execute(
                f"EXPLAIN QUERY PLAN {statement}", parameters[0] if many else parameters
            )
            found.extend(statement for row in plan if TABLE_SCAN.match(row[3]))

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", explain)


def creating(store: Store, graph: LayerGraph, clock: Clock) -> None:
    with store.unit_of_work() as work:
        work.architectures.put("other", graph, cost_of(graph))
        wanted = [
            NewJob(project, spec, work_key=spec.work_key("t"), request_id=f"{project}{seed}", fingerprint="f")
            for seed in range(3)
            for project in (PROJECT, "other")
            for spec in [a_spec(graph, seed=seed)]
        ]
        work.jobs.create_all(wanted)
        work.commit()


def relaying(store: Store, graph: LayerGraph, clock: Clock) -> None:
    create(store, graph)
    with store.unit_of_work() as work:
        work.outbox.mark_sent([message.id for need in Need for message in work.outbox.unsent(need, 10)], clock())
        work.commit()


def working(store: Store, graph: LayerGraph, clock: Clock) -> None:
    ledger = JobLedger(store)
    create(store, graph)
    held = ledger.claim_next(worker="w", lease_seconds=9)
    assert held is not None
    ledger.heartbeat(held, 9)
    ledger.report(held, message="well")
    ledger.finish(held, JobState.FAILED, reason="TEST", message="over")


def reaping(store: Store, graph: LayerGraph, clock: Clock) -> None:
    claim(store, create(store, graph))
    create(store, graph, seed=1)
    with store.unit_of_work() as work:
        work.jobs.reap(clock.advance(1e6), resend_after=timedelta(0))
        work.commit()


def forgetting(store: Store, graph: LayerGraph, clock: Clock) -> None:
    creating(store, graph, clock)
    with store.unit_of_work() as work:
        assert work.requests.forget(clock.advance(1), 100) == 6


def purging(store: Store, graph: LayerGraph, clock: Clock) -> None:
    ledger, held = JobLedger(store), claim(store, create(store, graph))
    model = ledger.settle_target(held, a_report(graph, a_plan(graph)))
    ledger.finish(held, JobState.SUCCEEDED)
    assert model is not None
    with store.unit_of_work() as work:
        for kind, identifier in ((Deletable.JOB, held.job_id), (Deletable.MODEL, model)):
            work.trash.delete(kind, PROJECT, identifier, keep=timedelta(0))
        assert work.trash.purge(clock()) == 2
        work.commit()


def refreshing(store: Store, graph: LayerGraph, clock: Clock) -> None:
    with store.snapshot() as work:
        families = [Family(project, graph.digest, "digits", uploaded=False) for project in (PROJECT, "other")]
        work.families.versions(families)
        work.families.changed_since(clock())


@pytest.mark.parametrize("what", [creating, relaying, working, reaping, forgetting, purging, refreshing])
def test_no_table_is_read_as_a_whole(
    store: Store, graph: LayerGraph, clock: Clock, what: Callable[[Store, LayerGraph, Clock], None]
) -> None:
    with table_scans() as found:
        what(store, graph, clock)
    assert found == []


def test_a_claim_sorts_a_long_queue_in_memory_and_passes_over_what_others_hold(postgres_url: str, graph: LayerGraph) -> None:
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith("SELECT"):
            plan = connection.connection.cursor().execute(f"EXPLAIN ANALYZE {statement}", parameters)
            plans.extend(line for (line,) in plan if "Sort Method" in line)

    with closing(Store(postgres_url)) as store:
        wanted = [
            NewJob(PROJECT, spec, work_key=spec.work_key("t")) for seed in range(2_500) for spec in [a_spec(graph, seed=seed)]
        ]
        with store.unit_of_work() as work:
            work.jobs.create_all(wanted)
            work.commit()
        with store.unit_of_work() as reaper:
            oldest = select(JobRow.id).order_by(JobRow.create_time, JobRow.id).limit(301)
            ids = reaper.session.scalars(oldest).all()
            reaper.session.execute(select(JobRow.id).where(JobRow.id.in_(ids[:300])).with_for_update())
            event.listen(Engine, "before_cursor_execute", explain)
            try:
                held = JobLedger(store).claim_next(worker="w", lease_seconds=9)
            finally:
                event.remove(Engine, "before_cursor_execute", explain)
        assert held is not None
        assert held.job_id == ids[300]
    assert any("top-N" in line for line in plans)
    assert not any("Disk" in line for line in plans)
