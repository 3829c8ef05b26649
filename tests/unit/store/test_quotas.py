"""What a project may take, counted on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from secateur.core.datasets import DATASETS
from secateur.core.errors import QuotaExceeded
from secateur.core.graph import LayerGraph
from secateur.store import Store
from secateur.store.quotas import QUEUE_RETRY_SECONDS, STORED_RETRY_SECONDS, Quotas
from secateur.store.tables import Deletable
from tests.support.store import PROJECT, Clock, claim, create

DIGITS = DATASETS["digits"]


@pytest.fixture
def bounded(database_url: str, clock: Clock) -> Iterator[Callable[..., Store]]:
    """Opens the store with quotas."""
    opened: list[Store] = []

    def open_store(**quotas: int) -> Store:
        opened.append(Store(database_url, clock=clock, quotas=Quotas(**quotas)))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


def upload(store: Store, project: str = PROJECT) -> None:
    with store.unit_of_work() as work:
        work.quotas.take_upload(project)
        work.commit()


def put(store: Store, name: str, digest: str, size_bytes: int, project: str = PROJECT) -> None:
    with store.unit_of_work() as work:
        work.datasets.put(project, replace(DIGITS, name=name), digest=digest * 64, size_bytes=size_bytes)
        work.commit()


def test_one_queued_job_too_many_is_refused_until_another_starts(bounded: Callable[..., Store], graph: LayerGraph) -> None:
    store = bounded(queued_jobs=2)
    first = create(store, graph, seed=1)
    create(store, graph, seed=2)

    with pytest.raises(QuotaExceeded) as caught:
        create(store, graph, seed=3)

    assert (caught.value.reason, caught.value.metadata) == ("QUEUED_JOBS_QUOTA", {"limit": "2"})
    assert caught.value.retry_seconds == QUEUE_RETRY_SECONDS
    assert create(store, graph, seed=1).id == first.id  # joins a job that is there
    claim(store, first)
    create(store, graph, seed=3)


def test_a_file_is_counted_once_per_project_whatever_its_names(bounded: Callable[..., Store]) -> None:
    store = bounded(stored_bytes=100)
    put(store, "one", "a", 60)
    put(store, "same", "a", 60)
    put(store, "elsewhere", "b", 60, project="other")

    with pytest.raises(QuotaExceeded) as caught:
        put(store, "two", "b", 41)

    assert (caught.value.reason, caught.value.field) == ("STORED_BYTES_QUOTA", "spec.size_bytes")
    assert caught.value.retry_seconds == STORED_RETRY_SECONDS
    put(store, "two", "b", 40)


def test_a_deleted_data_set_counts_until_it_is_purged_and_its_file_once(bounded: Callable[..., Store], clock: Clock) -> None:
    store = bounded(stored_bytes=100)
    put(store, "one", "a", 60)
    with store.unit_of_work() as work:
        work.trash.delete(Deletable.DATASET, PROJECT, "one", keep=timedelta(days=1))
        work.commit()
    put(store, "again", "a", 60)  # by another id, as the first may still be undeleted
    with pytest.raises(QuotaExceeded, match="60 are taken, also by deleted data sets until they are purged"):
        put(store, "other", "b", 41)
    put(store, "other", "b", 40)

    with store.unit_of_work() as work:
        work.trash.delete(Deletable.DATASET, PROJECT, "other", keep=timedelta(days=1))
        work.commit()
    clock.advance(24 * 3600)
    with store.unit_of_work() as work:
        assert work.trash.purge(clock.now) == 2
        work.commit()
    put(store, "third", "c", 40)


def test_uploads_are_let_in_at_their_rate_and_as_many_at_once(bounded: Callable[..., Store], clock: Clock) -> None:
    store = bounded(uploads_per_minute=3)
    for _ in range(3):
        upload(store)

    with pytest.raises(QuotaExceeded) as caught:
        upload(store)
    assert (caught.value.reason, caught.value.retry_seconds) == ("UPLOAD_RATE_QUOTA", 20.0)
    upload(store, "other")

    clock.advance(19.9)
    with pytest.raises(QuotaExceeded) as caught:
        upload(store)
    assert caught.value.retry_seconds == pytest.approx(0.1)
    clock.advance(0.1)
    upload(store)
    with pytest.raises(QuotaExceeded):
        upload(store)

    clock.advance(3600)  # what is not used does not add up
    for _ in range(3):
        upload(store)
    with pytest.raises(QuotaExceeded):
        upload(store)


def test_nothing_is_no_bound(bounded: Callable[..., Store], graph: LayerGraph) -> None:
    store = bounded(queued_jobs=0, stored_bytes=0, uploads_per_minute=0)
    for seed in range(3):
        create(store, graph, seed=seed)
        put(store, f"set-{seed}", str(seed), 2**60)
        upload(store)


def test_of_uploads_that_begin_at_once_no_more_are_let_in_than_may(bounded: Callable[..., Store]) -> None:
    store = bounded(uploads_per_minute=3)

    def begin() -> bool:
        try:
            upload(store)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        let_in = [result.result() for result in [pool.submit(begin) for _ in range(12)]]

    assert let_in.count(True) == 3


def test_two_files_that_are_registered_at_once_do_not_share_the_last_room(bounded: Callable[..., Store]) -> None:
    store = bounded(stored_bytes=100)

    def register(name: str) -> bool:
        try:
            put(store, name, name[-1], 60)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(register, ("set-a", "set-b", "set-c", "set-d")))

    assert kept.count(True) == 1
