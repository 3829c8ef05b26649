"""What one kind of database has and the other has not: row locks, time-outs in the server, connections that break."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import Pool

from migrations import check
from secateur.core.errors import Unavailable
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.core.routing import Need
from secateur.store import Store
from secateur.store.database import Timeouts, exclude_others, is_passing, make_engine
from secateur.store.ledger import JobLedger
from tests.support.stack import ROOT
from tests.support.store import PROJECT, claim, create, events, read


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    store = Store(postgres_url)
    yield store
    store.close()


def test_a_job_that_somebody_holds_stalls_neither_worker_nor_reaper(store: Store, ledger: JobLedger, graph: LayerGraph) -> None:
    held, free, silent, lost = (create(store, graph, seed=seed) for seed in range(4))
    for job in (silent, lost):
        ledger.claim(job.id, worker="w", lease_seconds=-1)
    with store.unit_of_work() as relay:  # long ago, and nobody came for them
        messages = relay.outbox.unsent(Need.CPU, 9)
        relay.outbox.mark_sent([message.id for message in messages], datetime.now(UTC) - timedelta(hours=1))
        relay.commit()
    started = time.monotonic()
    with store.unit_of_work() as holder:
        for job in (held, silent):
            holder.jobs.cancel(PROJECT, job.id)  # and the process that does it stands still
        assert ledger.claim(held.id, worker="w", lease_seconds=9) is None
        with store.unit_of_work() as reaper:
            reaped = reaper.jobs.reap(datetime.now(UTC))
            assert (set(reaped.ended), reaped.resent) == ({lost.id}, (free.id,))
        assert claim(store, free).job_id == free.id
    assert time.monotonic() - started < Timeouts.lock_seconds
    assert claim(store, held).attempt == 1  # nothing was committed: the job still waits


def test_a_transaction_that_stands_still_loses_what_it_holds(store: Store, postgres_url: str, graph: LayerGraph) -> None:
    job = create(store, graph)
    paused = Store(postgres_url, timeouts=Timeouts(lock_seconds=2.0))

    def cancel_slowly() -> None:
        with paused.unit_of_work() as work:
            work.jobs.cancel(PROJECT, job.id)
            assert claim_once_free(store, job.id)
            work.commit()

    with pytest.raises(Unavailable):
        cancel_slowly()
    assert read(store, job).state is JobState.RUNNING
    paused.close()


def claim_once_free(store: Store, job_id: str) -> bool:
    """Claims a job as soon as nobody holds it; False if that takes long."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if JobLedger(store).claim(job_id, worker="w", lease_seconds=9) is not None:
            return True
        time.sleep(0.02)
    return False


def test_events_are_in_order_of_their_times_though_a_transaction_began_before_another_ended(
    store: Store, graph: LayerGraph
) -> None:
    job = create(store, graph)
    held = claim(store, job)
    with store.unit_of_work() as late:
        began = late.journal.now()
        JobLedger(store).report(held, message="at work")
        row = late.journal.lock(job.id)
        assert row is not None
        late.journal.move(row, JobState.CANCELLED, "Cancelled")
        late.commit()

    times = [event.time for event in events(store, job)]
    assert began < times[-2] < times[-1]


def test_a_claim_that_waits_for_its_turn_is_later_than_the_job_that_came_meanwhile(
    store: Store, ledger: JobLedger, graph: LayerGraph
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with store.unit_of_work() as other:  # is just claiming
            exclude_others(other.session, "turns")
            claiming = pool.submit(ledger.claim_next, worker="w", lease_seconds=9)
            wait([claiming], timeout=0.5)
            job = create(store, graph)
        held = claiming.result()
    assert held is not None
    assert held.job_id == job.id
    queued, started = (event.time for event in events(store, job))
    assert queued < started


def test_a_statement_that_takes_too_long_is_ended(postgres_url: str) -> None:
    engine = make_engine(postgres_url, Timeouts(statement_seconds=0.1))
    with pytest.raises(DBAPIError, match="statement timeout") as caught, engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(20)"))
    assert is_passing(caught.value)
    engine.dispose()


def test_a_database_that_was_away_is_used_again(store: Store, postgres_url: str, graph: LayerGraph) -> None:
    job = create(store, graph)

    def cancel_while_it_goes_away() -> None:
        with store.unit_of_work() as work:
            work.jobs.cancel(PROJECT, job.id)
            cut_all_connections(postgres_url)
            work.commit()

    with pytest.raises(Unavailable):
        cancel_while_it_goes_away()
    assert read(store, job) == job


def cut_all_connections(url: str) -> None:
    """Does what a restart of the server does to its clients."""
    engine = make_engine(url)
    with engine.connect() as connection:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
    engine.dispose()


@contextmanager
def full_disk() -> Iterator[None]:
    """Lets no SQLite file grow, as far as SQLite can tell."""

    def stop_growing(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # or as many as there are

    event.listen(Pool, "connect", stop_growing)
    try:
        yield
    finally:
        event.remove(Pool, "connect", stop_growing)


def fill_up(store: Store, graph: LayerGraph) -> None:
    for seed in range(100):
        create(store, graph, seed=seed)


def test_a_full_disk_passes(sqlite_url: str, graph: LayerGraph) -> None:
    with full_disk(), closing(Store(sqlite_url)) as store:
        with pytest.raises(Unavailable) as caught:
            fill_up(store, graph)
        assert caught.value.reason == "DATABASE_UNAVAILABLE"
        assert "full" in str(caught.value.__cause__)


def test_a_disk_that_refuses_passes(sqlite_url: str) -> None:
    """EFBIG stands in for EIO, which only a broken disk gives."""
    script = (
        "import resource, sys; from secateur.core.errors import Unavailable; from secateur.store import Store\n"
        "from tests.support.store import a_graph, create\n"
        "store, graph = Store(sys.argv[1]), a_graph()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try: [create(store, graph, seed=seed) for seed in range(100)]\n"
        "except Unavailable as error: print(error.reason, error.__cause__.orig.sqlite_errorname)\n"
    )
    found = subprocess.run([sys.executable, "-c", script, sqlite_url], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"DATABASE_UNAVAILABLE SQLITE_(IOERR_WRITE|FULL)", found.stdout.splitlines()[-1])


def test_a_folder_that_is_made_is_for_its_user_alone(tmp_path: Path) -> None:
    make_engine(f"sqlite:///{tmp_path}/data/secateur.db").dispose()

    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_away_passes(tmp_path: Path) -> None:
    with closing(Store(f"sqlite:///{tmp_path}/mounted/secateur.db")) as store:
        (tmp_path / "mounted").rmdir()
        with pytest.raises(Unavailable), store.snapshot() as work:
            work.tokens.list()


def test_a_server_that_only_reads_passes(store: Store, graph: LayerGraph, postgres_url: str) -> None:
    """As a standby does that an address has moved to."""
    engine = make_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text(f'ALTER DATABASE "{make_url(postgres_url).database}" SET default_transaction_read_only = on'))
    engine.dispose()
    with pytest.raises(Unavailable):
        create(store, graph)


def test_a_mistake_in_a_statement_does_not_pass_with_time(sqlite_url: str, postgres_url: str) -> None:
    for url in (sqlite_url, postgres_url):
        engine = make_engine(url)
        with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
            connection.execute(text("SELECT nothing FROM nowhere"))
        assert not is_passing(caught.value)
        engine.dispose()


def test_text_in_another_order_is_drift(postgres_url: str) -> None:
    engine = make_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text('ALTER TABLE device_profiles ALTER COLUMN id TYPE VARCHAR(63) COLLATE "default"'))
    engine.dispose()
    assert check.differences(postgres_url) == [("modify_collation", "device_profiles", "id", "C")]


def test_a_url_without_a_driver_means_ours(postgres_url: str) -> None:
    engine = make_engine(postgres_url.replace("postgresql+psycopg://", "postgresql://"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_another_kind_of_database_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match=r"SQLite and on PostgreSQL.*Received: mysql://me:\*\*\*@db/secateur"):
        make_engine("mysql://me:secret@db/secateur")
