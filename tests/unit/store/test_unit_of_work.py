"""Transactions: readers do not wait, times are times, defects are loud."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy.exc import DBAPIError

from secateur.core.errors import NotFound
from secateur.core.graph import LayerGraph
from secateur.store import Store
from tests.support.store import PROJECT, Clock, create, read


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


def test_a_time_without_a_zone_is_refused(store: Store, graph: LayerGraph, clock: Clock) -> None:
    clock.now = datetime(2026, 1, 1)  # noqa: DTZ001 - the mistake that is meant
    with pytest.raises(Exception, match="needs a zone"):
        create(store, graph)
