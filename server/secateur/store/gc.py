"""Garbage collection: what nothing in the database needs any more leaves the blob store.

**Invariant.** A blob that is referred to can be read, whatever races. It rests on two rules and two assumptions.

- *Put, then refer.* Whoever refers to a blob has put it before, also if it was there, and commits the reference less than
  `grace - SLACK` after that. A put makes sure that the blob lies in its place.
- *Quarantine, then remove.* A sweep lists blobs, and then reads the references. What is older than `grace` and not referred to
  is moved into the quarantine, from which readers still read. What has been there for longer than `grace` and is not referred
  to is removed; what is referred to comes back.
- Clocks differ, and a sweep stands still between reading the clock and having moved a blob, for less than `SLACK` in all.

Let a reference be committed at r, after a put at p, so r < p + grace - SLACK. If no sweep moves the blob after p, it is there.
Else it is moved after p, at a time that the quarantine has noted as q > p - SLACK; so r < q + grace, and a sweep that could
remove it, later than q + grace, sees the reference. Nothing but the quarantined file itself is ever removed.

What a sweep takes, here and in the other folders, it knows by its name for something that we have written. Other files are left
alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TypeVar

from secateur.store.ages import SHORTEST_GRACE, Ages
from secateur.store.blobs import LIVE, is_digest, path_of
from secateur.store.checkpoints import CHECKPOINTS, TRAININGS, job_of
from secateur.store.clock import utc_now
from secateur.store.files import FileSystem
from secateur.store.quarantine import Quarantine
from secateur.store.unit_of_work import Store
from secateur.store.uploads import UploadStore

T = TypeVar("T")


class _Stopped(Exception):
    """Ends a sweep early, because its process stops."""


@dataclass(slots=True)
class Collected:
    """What one sweep did, as counts.

    Args:
        quarantined: Blobs that were moved into the quarantine.
        returned: Blobs that came back from there.
        removed: Blobs that were removed from there.
        removed_bytes: Their length in bytes.
        uploads: Uploads that were forgotten.
        checkpoints: Jobs whose checkpoints were removed.
        trainings: Shared trainings that were removed.
        unfinished: Files of killed processes that were removed.
    """

    quarantined: int = 0
    returned: int = 0
    removed: int = 0
    removed_bytes: int = 0
    uploads: int = 0
    checkpoints: int = 0
    trainings: int = 0
    unfinished: int = 0

    def counts(self) -> dict[str, int]:
        """Returns every count by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Collector:
    """Sweeps a blob store. Several may at once, on whatever machines.

    Args:
        store: Database whose references count. It must be the one of this blob store.
        url: The blob store, as `BlobStore` takes it.
        ages: How old garbage has to be.
        clock: Returns the current time, aware.
        stopping: Set when sweeps are to end; what they had yet to do, later ones will.
        shortest_grace: Least grace age.

    Raises:
        ValueError: If the grace age is less than `shortest_grace`.
    """

    def __init__(
        self,
        store: Store,
        url: str,
        ages: Ages,
        *,
        clock: Callable[[], datetime] = utc_now,
        stopping: threading.Event | None = None,
        shortest_grace: timedelta = SHORTEST_GRACE,
    ) -> None:
        if ages.grace < shortest_grace:
            raise ValueError(f"The grace age is at least {shortest_grace}. Received: {ages.grace}")
        self._store = store
        self._files = FileSystem(url)
        self._quarantine = Quarantine(self._files)
        self._uploads = UploadStore(url)
        self._ages = ages
        self._clock = clock
        self._stopping = stopping or threading.Event()

    def sweep(self, *, dry_run: bool = False) -> Collected:
        """Takes away what nobody needs.

        Args:
            dry_run: Only count.
        """
        found = Collected()
        with suppress(_Stopped):
            self._empty_quarantine(found, dry_run)
            for shard in self._unless_stopping(self._files.folders(LIVE)):  # so that no listing takes more memory than there is
                self._sweep_blobs(shard, found, dry_run)
            self._sweep_checkpoints(found, dry_run)
            self._sweep_trainings(found, dry_run)
            self._sweep_uploads(found, dry_run)
            found.unfinished = self._files.discard_unfinished(self._clock() - self._ages.grace, dry_run=dry_run)
        return found

    def _unless_stopping(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            if self._stopping.is_set():
                raise _Stopped
            yield item

    def _empty_quarantine(self, found: Collected, dry_run: bool) -> None:
        before = self._clock() - self._ages.grace
        held = list(self._quarantine.held())
        referenced = self._referenced({blob.digest for blob in held})
        for blob in self._unless_stopping(held):
            if blob.digest in referenced:
                found.returned += 1
                if not dry_run:
                    _unless_gone(self._files.move, blob.path, path_of(blob.digest))
                    self._quarantine.tidy(blob.digest)
            elif blob.since < before:
                found.removed += 1
                found.removed_bytes += blob.size
                if not dry_run:
                    self._files.delete(blob.path)
                    self._quarantine.tidy(blob.digest)

    def _sweep_blobs(self, shard: str, found: Collected, dry_run: bool) -> None:
        before = self._clock() - self._ages.grace
        found_here = self._files.entries(f"{LIVE}/{shard}").items()
        old = {shard + name for name, entry in found_here if is_digest(shard + name) and entry.modified < before}
        for digest in self._unless_stopping(old - self._referenced(old)):
            found.quarantined += 1
            if not dry_run:
                _unless_gone(self._quarantine.take, digest, path_of(digest), self._clock())

    def _sweep_checkpoints(self, found: Collected, dry_run: bool) -> None:
        latest: dict[str, datetime] = {}
        for path, entry in self._files.entries(CHECKPOINTS).items():
            if job := job_of(path):
                latest[job] = max(entry.modified, latest.get(job, entry.modified))
        old = {job for job, written in latest.items() if written < self._clock() - self._ages.grace}
        with self._store.snapshot() as work:
            done = old - work.references.unfinished(old)
        for job in self._unless_stopping(done):
            found.checkpoints += 1
            if not dry_run:
                self._files.remove(f"{CHECKPOINTS}/{job}")

    def _sweep_trainings(self, found: Collected, dry_run: bool) -> None:
        before = self._clock() - self._ages.trainings
        old = [name for name, entry in self._files.entries(TRAININGS).items() if is_digest(name) and entry.modified < before]
        for name in self._unless_stopping(old):
            found.trainings += 1
            if not dry_run:
                self._files.delete(f"{TRAININGS}/{name}")

    def _sweep_uploads(self, found: Collected, dry_run: bool) -> None:
        for project, digest in self._unless_stopping(self._uploads.stale(self._clock() - self._ages.uploads)):
            found.uploads += 1
            if not dry_run:
                self._uploads.discard(project, digest)

    def _referenced(self, digests: set[str]) -> set[str]:
        # A snapshot of its own, begun after the listing: see the invariant.
        with self._store.snapshot() as work:
            return work.references.among(digests)


def _unless_gone(move: Callable[..., None], *arguments: object) -> None:
    with suppress(FileNotFoundError):  # another sweep was faster
        move(*arguments)
