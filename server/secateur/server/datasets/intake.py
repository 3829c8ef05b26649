"""Takes in data sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from secateur.core import datasets
from secateur.core.datasets import Dataset, check_augmentation
from secateur.core.errors import AlreadyExists, FailedPrecondition, InvalidArgument, QuotaExceeded, SecateurError, Unavailable
from secateur.core.specs import Augmentation
from secateur.server.datasets.archive import MAX_FILE_BYTES, inspect
from secateur.server.datasets.npy import malformed
from secateur.server.fields import under
from secateur.server.threads import Threads
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.checksums import Checksums
from secateur.store.records import DatasetRecord
from secateur.store.uploads import PART_BYTES, UploadStore, UploadWriter, new_buffer


@dataclass(frozen=True, slots=True)
class Upload:
    """What is uploaded.

    Args:
        project: Project that keeps it.
        id: Id of the data set.
        title: Name for people.
        size_bytes: Length of the file.
        sha256: Its digest, hexadecimal.
        write_offset: Where in the file the bytes begin that follow.
        class_names: Name of every class, in the order of the labels; empty for none.
        augmentation: What may be done to training images.
        validate_only: Only check and answer.
    """

    project: str
    id: str
    title: str
    size_bytes: int
    sha256: str
    write_offset: int
    class_names: tuple[str, ...]
    augmentation: Augmentation
    validate_only: bool


@dataclass(slots=True, eq=False)
class _Coming:
    """Bytes of a file that a client has announced and that are not written yet."""

    project: str
    sha256: str
    size_bytes: int


_Parts: TypeAlias = AsyncIterator[Upload | memoryview]
"""What comes from a client: one upload, then its chunks."""


class Intake:
    """Takes in uploads.

    Args:
        store: Where data sets are kept.
        blobs: Where their files are kept.
        uploads: Where files are kept that are not whole yet.
        at_once: Uploads whose bytes are taken in at once, at most half of them of one project; others wait before they send
            any. Each takes up to twice `PART_BYTES` of memory.
        idle_seconds: How long an upload may send nothing before it has to start again where it was.
    """

    def __init__(self, store: Store, blobs: BlobStore, uploads: UploadStore, *, at_once: int, idle_seconds: float) -> None:
        self._store = store
        self._blobs = blobs
        self._uploads = uploads
        self._turns = asyncio.Semaphore(at_once)
        self._share = (at_once + 1) // 2
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._idle_seconds = idle_seconds
        self._coming: set[_Coming] = set()

    async def take_in(self, parts: _Parts, *, threads: Threads, on_accepted: Callable[[], Awaitable[None]]) -> DatasetRecord:
        """Keeps the bytes of an upload as they come, checks the file once it is whole, and registers it.

        Args:
            parts: What is uploaded, then its chunks.
            threads: Where bytes are written.
            on_accepted: Called once it is known that the bytes are wanted.

        Raises:
            AlreadyExists: DATASET_EXISTS.
            FailedPrecondition: WRITE_OFFSET_INVALID or DATASET_DELETED.
            QuotaExceeded: UPLOAD_RATE_QUOTA or STORED_BYTES_QUOTA.
            InvalidArgument: DATASET_TOO_LARGE; DATASET_MALFORMED if the parts are out of order, or longer than announced;
                DATASET_TRUNCATED, DATASET_DIGEST_MISMATCH, DATASET_CLASS_NAMES_INVALID, AUGMENTATION_INVALID, or as
                `archive.inspect` does. What no upload can mend is forgotten.
            Unavailable: UPLOAD_STALLED or UPLOAD_INTERRUPTED.
        """
        upload = await self._next(parts)
        if not isinstance(upload, Upload):
            raise malformed("An upload starts with its `spec`", "none", field="spec")
        writer = self._uploads.writer(upload.project, upload.sha256, upload.write_offset)
        # An upload may be as slow as it likes, as long as something comes: those of one project must not keep out all others.
        share = self._shares.setdefault(upload.project, asyncio.Semaphore(self._share))
        coming = _Coming(upload.project, upload.sha256, max(0, upload.size_bytes - upload.write_offset))
        try:
            async with share, self._turns:
                others = self._announced(upload)
                self._coming.add(coming)  # before anybody else can ask
                await threads.run(self._open, upload, others)
                await on_accepted()
                await self._keep(upload, parts, writer, threads, coming)
            return await threads.run(self._finish, upload, writer)
        finally:
            self._coming.discard(coming)

    def committed(self, project: str, sha256: str) -> int:
        """Returns how many bytes from the start of a file are here.

        Args:
            project: Project that uploads it.
            sha256: Digest of the file.
        """
        held = self._held(project, sha256)
        return held.size_bytes if held is not None else self._uploads.committed(project, sha256)

    def _announced(self, upload: Upload) -> int:
        """Returns how many bytes of other files of its project are on their way to this server."""
        return sum(
            other.size_bytes
            for other in self._coming
            if other.project == upload.project and other.sha256 != upload.sha256  # it takes room once
        )

    async def _keep(self, upload: Upload, parts: _Parts, writer: UploadWriter, threads: Threads, coming: _Coming) -> None:
        """Keeps the bytes of an upload: some are written while the next are received."""

        async def write(data: memoryview) -> None:
            await asyncio.gather(threads.run(writer.write, data), threads.run(writer.hash, data))
            coming.size_bytes -= len(data)

        writing: asyncio.Future[None] = asyncio.ensure_future(asyncio.sleep(0))
        try:
            async with aclosing(self._gathered(upload, parts)) as gathered:
                async for data in gathered:
                    await asyncio.wait({writing})  # not the future itself: a call that is cancelled must not let go of it
                    writing.result()
                    writing = asyncio.ensure_future(write(data))
        finally:
            # Also where the call is cancelled during the wait: the file is closed as soon as nobody writes to it.
            writing.add_done_callback(lambda written: _close(writer, written))
            await asyncio.wait({writing})
        writing.result()

    async def _gathered(self, upload: Upload, parts: _Parts) -> AsyncGenerator[memoryview, None]:
        """Yields the bytes of an upload, as many as are worth writing; they are good until the next but one are drawn."""
        buffers = [new_buffer(), new_buffer()]
        end, size = upload.write_offset, 0
        while (part := await self._next(parts)) is not None:
            if isinstance(part, Upload):
                raise malformed("An upload is one `spec`, then its chunks", "parts in another order", field="spec")
            end += len(part)
            if end > upload.size_bytes:
                raise malformed(f"The file has {upload.size_bytes:,} bytes, as announced", "more of them")
            while part:
                fitting = min(len(part), PART_BYTES - size)
                buffers[0][size : size + fitting] = part[:fitting]
                part, size = part[fitting:], size + fitting
                if size == PART_BYTES:
                    yield buffers[0]
                    buffers.reverse()
                    size = 0
        if size:
            yield buffers[0][:size]

    async def _next(self, parts: _Parts) -> Upload | memoryview | None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await anext(parts, None)
        except TimeoutError:
            raise Unavailable(
                "UPLOAD_STALLED", f"Nothing came for {self._idle_seconds:g} s; what came before is kept, so go on there"
            ) from None

    def _finish(self, upload: Upload, writer: UploadWriter) -> DatasetRecord:
        """Checks a file of which every byte has come, and registers it."""
        dataset, held = self._checked_or_held(upload, writer)
        try:
            with self._store.unit_of_work() as work:
                size_bytes = upload.size_bytes if held is None else held.size_bytes
                record = work.datasets.put(upload.project, dataset, digest=upload.sha256, size_bytes=size_bytes)
                if upload.validate_only:
                    return record
                work.commit()
        except QuotaExceeded:  # another server has let in another one meanwhile: what has no room must not stay as unfinished
            self._uploads.discard(upload.project, upload.sha256)
            raise
        self._uploads.discard(upload.project, upload.sha256)
        return record

    def _checked_or_held(self, upload: Upload, writer: UploadWriter) -> tuple[Dataset, DatasetRecord | None]:
        """Returns the facts of a file, and where the project has it already."""
        held = self._held(upload.project, upload.sha256)
        if held is None:
            try:
                return self._checked(upload, writer), None
            except (SecateurError, FileNotFoundError) as error:
                # Another upload of the same file may just have come to its end, and cleared the parts away.
                held = self._held(upload.project, upload.sha256)
                if held is None:
                    if isinstance(error, SecateurError):
                        raise
                    raise Unavailable(
                        "UPLOAD_INTERRUPTED", "Another upload of this file has just failed; send it again"
                    ) from error
        return _named(held.dataset, upload), held

    def _held(self, project: str, sha256: str) -> DatasetRecord | None:
        with self._store.snapshot() as work:
            return work.datasets.of_content(project, sha256)

    def _open(self, upload: Upload, announced: int) -> None:
        """Refuses an upload that can come to nothing before its bytes are sent.

        Args:
            upload: The upload.
            announced: Bytes of other uploads of its project that are yet to come.
        """
        if upload.id in datasets.DATASETS:
            raise AlreadyExists(
                "DATASET_EXISTS",
                f"A built-in data set has this id; choose another one. Received: {upload.id}",
                field="spec.dataset_id",
            )
        if upload.size_bytes > MAX_FILE_BYTES:
            raise InvalidArgument(
                "DATASET_TOO_LARGE",
                f"A file may have at most {MAX_FILE_BYTES:,} bytes. Received: {upload.size_bytes:,}",
                field="spec.size_bytes",
            )
        with self._store.snapshot() as work:
            work.datasets.check_free(upload.project, upload.id, upload.sha256)
            known = work.datasets.of_content(upload.project, upload.sha256) is not None
        unfinished = self._uploads.held(upload.project, but=upload.sha256)
        with self._store.unit_of_work() as work:
            work.quotas.take_upload(upload.project)
            if not known:
                work.quotas.check_stored(upload.project, unfinished + announced + upload.size_bytes, digest=upload.sha256)
            work.commit()
        committed = self.committed(upload.project, upload.sha256)
        if upload.write_offset > committed:
            raise FailedPrecondition(
                "WRITE_OFFSET_INVALID",
                f"{committed:,} bytes of this file are here; go on at that offset or before. Received: {upload.write_offset:,}",
                field="spec.write_offset",
                metadata={"committed_size": str(committed)},
            )

    def _checked(self, upload: Upload, writer: UploadWriter) -> Dataset:
        """Looks into the file of an upload, and keeps it."""
        committed = self._uploads.committed(upload.project, upload.sha256)
        if committed < upload.size_bytes:
            raise InvalidArgument(
                "DATASET_TRUNCATED",
                f"The upload ended before the file did; what came is kept, so go on at offset {committed}. "
                f"Received: {committed:,} of {upload.size_bytes:,} bytes",
                field="chunk",
                metadata={"committed_size": str(committed)},
            )
        try:
            whole = writer.whole(upload.size_bytes)
            with self._uploads.assembled(upload.project, upload.sha256, whole) as (file, checksums):
                dataset = _inspected(upload, file, checksums)
                if not upload.validate_only:
                    self._blobs.take(file, upload.sha256)
        except InvalidArgument:
            self._uploads.discard(upload.project, upload.sha256)
            raise
        return dataset


def _close(writer: UploadWriter, written: asyncio.Future[Any]) -> None:
    writer.close()
    if not written.cancelled():
        written.exception()  # nobody may be left to ask


def _inspected(upload: Upload, file: Path, checksums: Checksums) -> Dataset:
    """Returns the facts of a file."""
    if checksums.sha256 != upload.sha256:
        raise InvalidArgument(
            "DATASET_DIGEST_MISMATCH",
            f"The SHA-256 of the file is not as announced, so nothing was kept; send it again. Received: {checksums.sha256}",
            field="spec.sha256",
        )
    with file.open("rb") as opened:
        contents = inspect(opened, checksums, upload.class_names)
    facts = Dataset("", "", contents.input_shape, contents.classes, contents.train_images, contents.test_images)
    return _named(facts, upload)


def _named(facts: Dataset, upload: Upload) -> Dataset:
    """Returns the facts of a file under the name that an upload gives it, with what it says beside them."""
    if len(upload.class_names) not in (0, facts.classes):
        raise InvalidArgument(
            "DATASET_CLASS_NAMES_INVALID",
            f"There must be one name for each of the {facts.classes} classes that the labels tell, or none. "
            f"Received: {len(upload.class_names)} names",
            field="spec.class_names",
        )
    with under("spec"):
        check_augmentation(upload.augmentation, facts.input_shape)
    return replace(facts, name=upload.id, title=upload.title, augmentation=upload.augmentation, class_names=upload.class_names)
