"""The server's sweeps: what was deleted long ago is purged, and what nothing needs any more leaves the blob store."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from secateur.store import Store
from secateur.store.gc import Collector
from secateur.store.settings import Settings

_log = structlog.stdlib.get_logger(__name__)


class Sweeper:
    """Sweeps now and again.

    Args:
        store: Database.
        settings: Where the blobs are, and how old garbage has to be.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._collector = Collector(store, settings.blob_url, settings.ages)

    def sweep(self) -> None:
        """Sweeps once, and logs what was done."""
        with self._store.unit_of_work() as work:
            purged = work.trash.purge(datetime.now(UTC))
            work.commit()
        done = {name: count for name, count in {"purged": purged, **self._collector.sweep().counts()}.items() if count}
        if done:
            _log.info("garbage collected", **done)
