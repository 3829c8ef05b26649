"""Transactions: readers do not wait, times are times, defects are loud."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime

import pytest
from sqlalchemy.exc import DBAPIError

from secateur.core.errors import NotFound, Unavailable
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.store import Store
from secateur.store.database import Timeouts
from secateur.store.ledger import JobLedger
from tests.support.store import PROJECT, Clock, claim, create, events, read


def test_a_snapshot_neither_waits_for_a_writer_nor_sees_half_of_it(store: Store, graph: LayerGraph) -> None:
    job = create(store, graph)
    with store.unit_of_work() as writer:
        writer.jobs.cancel(PROJECT, job.id)
        assert read(store, job) == job
        with store.snapshot() as reader:
            assert reader.jobs.get(PROJECT, job.id) == job
            writer.commit()
            assert reader.jobs.get(PROJECT, job.id) == job
    assert read(store, job) != job


def test_readers_do_not_wait_for_a_connection_however_many_there_are(store: Store, graph: LayerGraph) -> None:
    job = create(store, graph)
    with ExitStack() as stack:
        for _ in range(20):  # by default a pool has 15, and the next one fails after half a minute
            assert stack.enter_context(store.snapshot()).jobs.get(PROJECT, job.id) == job


def test_a_snapshot_cannot_be_written_to(store: Store, graph: LayerGraph) -> None:
    job = create(store, graph)
    with store.snapshot() as view, pytest.raises(DBAPIError, match=r"(?i)read-?only"):
        view.jobs.cancel(PROJECT, job.id)
    create(store, graph, seed=1)  # and the connection is as good as before


def test_an_error_rolls_back(store: Store, graph: LayerGraph) -> None:
    job = create(store, graph)

    def cancel_two() -> None:
        with store.unit_of_work() as work:
            work.jobs.cancel(PROJECT, job.id)
            work.jobs.cancel(PROJECT, "nobody")

    with pytest.raises(NotFound):
        cancel_two()
    assert read(store, job) == job


def test_what_another_transaction_holds_is_not_waited_for_for_ever(store: Store, database_url: str, graph: LayerGraph) -> None:
    job = create(store, graph)
    hasty = Store(database_url, timeouts=Timeouts(lock_seconds=1.0))  # PostgreSQL ends what idles for half of that
    with store.unit_of_work() as holder:
        holder.jobs.cancel(PROJECT, job.id)
        with pytest.raises(Unavailable) as caught, hasty.unit_of_work() as work:
            work.jobs.cancel(PROJECT, job.id)
        holder.commit()
    assert caught.value.reason == "DATABASE_UNAVAILABLE"
    with hasty.unit_of_work() as work:
        assert work.jobs.cancel(PROJECT, job.id).state is JobState.CANCELLED
    hasty.close()


def test_text_of_whatever_origin_is_kept(store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
    job = create(store, graph)
    ledger.finish(claim(store, job), JobState.FAILED, reason="R", message="bytes \0\x01\udc80 é 🙂 '\"\\u0000")
    kept = "bytes \N{REPLACEMENT CHARACTER}\x01? é 🙂 '\"\\u0000"
    assert read(store, job).error_message == events(store, job)[-1].message == kept


def test_a_time_without_a_zone_is_refused(store: Store, graph: LayerGraph, clock: Clock) -> None:
    clock.now = datetime(2026, 1, 1)  # noqa: DTZ001 - the mistake that is meant
    with pytest.raises(Exception, match="needs a zone"):
        create(store, graph)
