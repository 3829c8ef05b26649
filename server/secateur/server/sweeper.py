"""The server's sweeps: what was deleted long ago is purged, and what nothing needs any more leaves the blob store."""

from __future__ import annotations

import threading

import structlog

from secateur.store import Store
from secateur.store.gc import Collector
from secateur.store.settings import Settings
from secateur.store.trash import PURGE_BATCH

_log = structlog.stdlib.get_logger(__name__)


class Sweeper:
    """Sweeps now and again.

    Args:
        store: Database.
        settings: Where the blobs are, and how old garbage has to be.
        stopping: Set when the server stops: a sweep then ends before the next file.
    """

    def __init__(self, store: Store, settings: Settings, stopping: threading.Event) -> None:
        self._store = store
        self._stopping = stopping
        self._collector = Collector(store, settings.blob_url, settings.ages, stopping=stopping)

    def sweep(self) -> None:
        """Sweeps once, and logs what was done."""
        purged = latest = self._purge()
        while latest == PURGE_BATCH and not self._stopping.is_set():  # there may be more, and the next sweep is far away
            latest = self._purge()
            purged += latest
        done = {name: count for name, count in {"purged": purged, **self._collector.sweep().counts()}.items() if count}
        if done:
            _log.info("garbage collected", **done)

    def _purge(self) -> int:
        with self._store.unit_of_work() as work:
            purged = work.trash.purge(work.journal.now())
            work.commit()
        return purged
