"""The audit log between its calls and the database."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from migrations.upgrade import upgrade
from secateur.core.errors import Unavailable
from secateur.server import audit
from secateur.server.audit import AuditLog
from secateur.store import Store
from secateur.store.database import Timeouts
from secateur.store.records import AuditRecord

RECORDS, ROUNDS = 900, 20


def record(number: int) -> AuditRecord:
    return AuditRecord(datetime.now(UTC), "token", "project", "/method", f"resource-{number}", "OK", "")


@pytest.fixture
def switching_often() -> Iterator[None]:
    """Has threads take turns so often that what must not happen in between does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching_often")
def test_what_two_write_at_once_is_all_there_and_nothing_twice(tmp_path: Path) -> None:
    """As when a server stops while its loop is at it."""
    url = f"sqlite:///{tmp_path}/secateur.db"
    upgrade(url)
    begin = threading.Barrier(2)

    def flush(log: AuditLog) -> None:
        begin.wait()
        log.flush()

    with closing(Store(url)) as store, ThreadPoolExecutor(2) as threads:
        for _ in range(ROUNDS):
            log = AuditLog(store)
            for number in range(RECORDS):
                log.record(record(number))
            list(threads.map(flush, [log, log]))
        with store.snapshot() as work:
            assert len(work.audit.list(limit=2 * ROUNDS * RECORDS)) == ROUNDS * RECORDS


def test_a_record_is_a_line_of_the_log_at_once_whether_or_not_it_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MAX_WAITING", 0)
    with closing(Store(f"sqlite:///{tmp_path}/secateur.db")) as store, structlog.testing.capture_logs() as lines:
        AuditLog(store).record(record(7))
    facts = {"token": "token", "project": "project", "method": "/method", "resource": "resource-7", "code": "OK"}
    assert lines[0] == {"event": "audit", "log_level": "info", **facts}
    assert "full" in lines[1]["event"]


def test_what_cannot_be_written_waits_in_its_order_as_far_as_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secateur.db"
    upgrade(f"sqlite:///{path}")
    monkeypatch.setattr(audit, "MAX_WAITING", 3)
    with (
        closing(Store(f"sqlite:///{path}", timeouts=Timeouts(lock_seconds=0.1))) as store,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        log = AuditLog(store)
        other.execute("BEGIN EXCLUSIVE")
        for number in range(4):
            log.record(record(number))
            with pytest.raises(Unavailable):
                log.flush()
        log.close()
        other.execute("ROLLBACK")
        log.flush()
        with store.snapshot() as work:
            found = [row.resource for row in reversed(work.audit.list(limit=10))]
    assert found == ["resource-0", "resource-1", "resource-2"]
