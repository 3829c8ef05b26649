"""Takes in data sets and shows them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from secateur.core import datasets
from secateur.core.datasets import Dataset, DatasetName, check_augmentation
from secateur.core.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, SecateurError, Unavailable
from secateur.core.specs import Augmentation
from secateur.server.datasets.archive import MAX_FILE_BYTES, inspect
from secateur.server.datasets.npy import malformed
from secateur.server.fields import under
from secateur.server.places import place_of, token_of
from secateur.server.threads import Threads
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from secateur.store.records import DatasetRecord, Page
from secateur.store.tables import Deletable
from secateur.store.unit_of_work import Snapshot
from secateur.store.uploads import PART_BYTES, UploadStore


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


@dataclass(frozen=True, slots=True)
class Shown:
    """A data set as it is shown.

    Args:
        dataset: Its facts.
        record: Where they are kept; None for a built-in one.
    """

    dataset: Dataset
    record: DatasetRecord | None = None

    @property
    def name(self) -> DatasetName:
        """What it is called."""
        return DatasetName(self.dataset.name, self.record.project if self.record else "")


@dataclass(frozen=True, slots=True)
class ListDatasets:
    """Which data sets are listed.

    Args:
        project: Project whose own are listed after the built-in ones; empty for the built-in ones alone.
        page_size: Most rows; 0 for the default.
        page_token: Token of an earlier answer; empty for the first page.
        show_deleted: List those that were deleted too.
    """

    project: str
    page_size: int
    page_token: str
    show_deleted: bool = False


class Intake:
    """Takes in uploads.

    Args:
        store: Where data sets are kept.
        blobs: Where their files are kept.
        uploads: Where files are kept that are not whole yet.
        at_once: Uploads whose bytes are taken in at once; others wait before they send any. Each takes up to `PART_BYTES` of
            memory.
        idle_seconds: How long an upload may send nothing before it has to start again where it was.
    """

    def __init__(self, store: Store, blobs: BlobStore, uploads: UploadStore, *, at_once: int, idle_seconds: float) -> None:
        self._store = store
        self._blobs = blobs
        self._uploads = uploads
        self._turns = asyncio.Semaphore(at_once)
        self._idle_seconds = idle_seconds

    async def receive(
        self, parts: AsyncIterator[Upload | bytes], *, threads: Threads, on_accepted: Callable[[], Awaitable[None]]
    ) -> Upload:
        """Keeps the bytes of an upload as they come, and returns what is uploaded.

        Args:
            parts: What is uploaded, then its chunks.
            threads: Where bytes are written.
            on_accepted: Called once it is known that the bytes are wanted.

        Raises:
            AlreadyExists: DATASET_EXISTS.
            FailedPrecondition: WRITE_OFFSET_INVALID or DATASET_DELETED.
            QuotaExceeded: UPLOAD_RATE_QUOTA or STORED_BYTES_QUOTA.
            InvalidArgument: DATASET_TOO_LARGE; DATASET_MALFORMED if the parts are out of order, or longer than announced.
            Unavailable: UPLOAD_STALLED.
        """
        upload = await self._next(parts)
        if not isinstance(upload, Upload):
            raise malformed("An upload starts with its `spec`", "none", field="spec")
        async with self._turns:
            await threads.run(self._open, upload)
            await on_accepted()
            await self._keep(upload, parts, threads)
        return upload

    async def _keep(self, upload: Upload, parts: AsyncIterator[Upload | bytes], threads: Threads) -> None:
        """Keeps the chunks of an upload."""
        offset, pending = upload.write_offset, bytearray()
        while (part := await self._next(parts)) is not None:
            if isinstance(part, Upload):
                raise malformed("An upload is one `spec`, then its chunks", "parts in another order", field="spec")
            pending += part
            if offset + len(pending) > upload.size_bytes:
                raise malformed(f"The file has {upload.size_bytes:,} bytes, as announced", "more of them")
            if len(pending) >= PART_BYTES:
                await threads.run(self._uploads.append, upload.project, upload.sha256, offset, bytes(pending))
                offset += len(pending)
                pending.clear()
        if pending:
            await threads.run(self._uploads.append, upload.project, upload.sha256, offset, bytes(pending))

    async def _next(self, parts: AsyncIterator[Upload | bytes]) -> Upload | bytes | None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await anext(parts, None)
        except TimeoutError:
            raise Unavailable(
                "UPLOAD_STALLED", f"Nothing came for {self._idle_seconds:g} s; what came before is kept, so go on there"
            ) from None

    def finish(self, upload: Upload) -> DatasetRecord:
        """Checks a file of which every byte has come, and registers it. What no upload can mend is forgotten.

        Raises:
            AlreadyExists: DATASET_EXISTS.
            FailedPrecondition: DATASET_DELETED.
            QuotaExceeded: STORED_BYTES_QUOTA.
            InvalidArgument: DATASET_TRUNCATED, DATASET_DIGEST_MISMATCH, DATASET_CLASS_NAMES_INVALID, AUGMENTATION_INVALID, or
                as `archive.inspect` does.
        """
        dataset, held = self._checked_or_held(upload)
        with self._store.unit_of_work() as work:
            size_bytes = upload.size_bytes if held is None else held.size_bytes
            record = work.datasets.put(upload.project, dataset, digest=upload.sha256, size_bytes=size_bytes)
            if upload.validate_only:
                return record
            work.commit()
        self._uploads.discard(upload.project, upload.sha256)
        return record

    def committed(self, project: str, sha256: str) -> int:
        """Returns how many bytes from the start of a file are here.

        Args:
            project: Project that uploads it.
            sha256: Digest of the file.
        """
        with self._store.snapshot() as work:
            held = work.datasets.of_content(project, sha256)
        return held.size_bytes if held is not None else self._uploads.committed(project, sha256)

    def _checked_or_held(self, upload: Upload) -> tuple[Dataset, DatasetRecord | None]:
        """Returns the facts of a file, and where the project has it already."""
        held = self._held(upload)
        if held is None:
            try:
                return self._checked(upload), None
            except (SecateurError, FileNotFoundError) as error:
                # Another upload of the same file may just have come to its end, and cleared the parts away.
                held = self._held(upload)
                if held is None:
                    if isinstance(error, SecateurError):
                        raise
                    raise Unavailable(
                        "UPLOAD_INTERRUPTED", "Another upload of this file has just failed; send it again"
                    ) from error
        return _named(held.dataset, upload), held

    def _held(self, upload: Upload) -> DatasetRecord | None:
        with self._store.snapshot() as work:
            return work.datasets.of_content(upload.project, upload.sha256)

    def _open(self, upload: Upload) -> None:
        """Refuses an upload that can come to nothing before its bytes are sent."""
        if upload.id in datasets.DATASETS:
            raise AlreadyExists(
                "DATASET_EXISTS",
                f"A built-in data set has this id; choose another one. Received: {upload.id}",
                field="spec.dataset_id",
            )
        if upload.size_bytes > MAX_FILE_BYTES:
            raise InvalidArgument(
                "DATASET_TOO_LARGE",
                f"A file may have {MAX_FILE_BYTES:,} bytes. Received: {upload.size_bytes:,}",
                field="spec.size_bytes",
            )
        with self._store.snapshot() as work:
            work.datasets.check_free(upload.project, upload.id, upload.sha256)
            known = work.datasets.of_content(upload.project, upload.sha256) is not None
        unfinished = self._uploads.held(upload.project, but=upload.sha256)
        with self._store.unit_of_work() as work:
            work.quotas.take_upload(upload.project)
            if not known:
                work.quotas.check_stored(upload.project, unfinished + upload.size_bytes)
            work.commit()
        committed = self.committed(upload.project, upload.sha256)
        if upload.write_offset > committed:
            raise FailedPrecondition(
                "WRITE_OFFSET_INVALID",
                f"{committed:,} bytes of this file are here; go on at that offset or before. Received: {upload.write_offset:,}",
                field="spec.write_offset",
                metadata={"committed_size": str(committed)},
            )

    def _checked(self, upload: Upload) -> Dataset:
        """Puts the parts of a file together, looks into it, and keeps it."""
        committed = self._uploads.committed(upload.project, upload.sha256)
        if committed < upload.size_bytes:
            raise InvalidArgument(
                "DATASET_TRUNCATED",
                f"The upload ended before the file did; what came is kept, so go on at offset {committed}. "
                f"Received: {committed:,} of {upload.size_bytes:,} bytes",
                field="chunk",
                metadata={"committed_size": str(committed)},
            )
        with tempfile.TemporaryDirectory() as folder, (Path(folder) / "dataset.npz").open("w+b") as file:
            try:
                digest = self._uploads.copy(upload.project, upload.sha256, file)
                file.flush()
                if digest != upload.sha256:
                    raise InvalidArgument(
                        "DATASET_DIGEST_MISMATCH",
                        f"The SHA-256 of the file is not as announced, so nothing was kept; send it again. Received: {digest}",
                        field="spec.sha256",
                    )
                contents = inspect(file, upload.class_names)
            except SecateurError:
                self._uploads.discard(upload.project, upload.sha256)
                raise
            facts = Dataset("", "", contents.input_shape, contents.classes, contents.train_images, contents.test_images)
            dataset = _named(facts, upload)
            if not upload.validate_only:
                self._blobs.put(Path(file.name))
        return dataset


def get_dataset(name: DatasetName, *, store: Store) -> Shown:
    """Returns a data set.

    Raises:
        NotFound: DATASET_NOT_FOUND.
    """
    if name.project:
        with store.snapshot() as work:
            return _shown(work.trash.mark(work.datasets.get(name.project, name.id)))
    if name.id not in datasets.DATASETS:
        raise NotFound(
            "DATASET_NOT_FOUND",
            f"There is no such built-in data set; known: {', '.join(sorted(datasets.DATASETS))}. Received: {name.id}",
            field="name",
        )
    return Shown(datasets.DATASETS[name.id])


def list_datasets(query: ListDatasets, *, store: Store) -> Page[Shown]:
    """Returns one page of data sets by id: the built-in ones, then those of a project.

    Raises:
        InvalidArgument: PAGE_TOKEN_INVALID.
    """
    size = min(query.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    owner, after = place_of(query.page_token, query.project, datasets.DATASETS)
    rest = [Shown(dataset) for name, dataset in sorted(datasets.DATASETS.items()) if not owner and name > after]
    if query.project and len(rest) <= size:
        with store.snapshot() as work:
            own = work.datasets.list(
                query.project,
                after=after if owner else "",
                limit=size - len(rest) + 1,
                show_deleted=query.show_deleted,
            )
            rest += map(_shown, work.trash.mark_all(own))
    page = tuple(rest[:size])
    return Page(page, next_page_token=token_of(page[-1].name.project, page[-1].name.id) if len(page) < len(rest) else "")


def delete_dataset(name: DatasetName, *, allow_missing: bool, keep: timedelta, store: Store) -> Shown | None:
    """Deletes a data set of a project, and returns it; None if there is none and that is allowed.

    Raises:
        NotFound: DATASET_NOT_FOUND, also if it was deleted before.
        FailedPrecondition: DATASET_BUILT_IN, or DATASET_IN_USE by a job that has not ended.
    """
    _check_own(name)
    with store.unit_of_work() as work:
        there = work.trash.delete(Deletable.DATASET, name.project, name.id, keep=keep, allow_missing=allow_missing)
        shown = _shown(work.trash.mark(work.datasets.get(name.project, name.id))) if there else None
        work.commit()
    return shown


def undelete_dataset(name: DatasetName, *, store: Store) -> Shown:
    """Undoes the deletion of a data set.

    Raises:
        NotFound: DATASET_NOT_FOUND.
        AlreadyExists: DATASET_NOT_DELETED.
        FailedPrecondition: DATASET_BUILT_IN.
    """
    _check_own(name)
    with store.unit_of_work() as work:
        work.trash.undelete(Deletable.DATASET, name.project, name.id)
        shown = _shown(work.datasets.get(name.project, name.id))
        work.commit()
    return shown


def _check_own(name: DatasetName) -> None:
    if not name.project:
        raise FailedPrecondition(
            "DATASET_BUILT_IN", f"Only data sets that a project has uploaded can be deleted. Received: {name.id}", field="name"
        )


def find_dataset(name: DatasetName, project: str, work: Snapshot, *, deleted: bool = False) -> Shown:
    """Returns the data set that a request names.

    Args:
        name: What the request names.
        project: Project that asks. What another project has is not to be told from what nobody has.
        work: Where the project's own data sets are.
        deleted: Whether one that was deleted will do.

    Raises:
        InvalidArgument: DATASET_UNKNOWN, if it is no built-in one.
        NotFound: DATASET_NOT_FOUND, if it is none of the project's own.
    """
    if not name.project:
        return Shown(datasets.get(name.id))
    if name.project != project:
        raise NotFound(
            "DATASET_NOT_FOUND",
            f"There is no such data set in project {project}. Received: one of project {name.project}",
            field="dataset",
        )
    shown = _shown(work.datasets.get(project, name.id))
    if not deleted and work.trash.find(Deletable.DATASET, project, name.id):
        raise NotFound(
            "DATASET_NOT_FOUND", f"This data set was deleted; undelete it first. Received: {name.id}", field="dataset"
        )
    return shown


def _shown(record: DatasetRecord) -> Shown:
    return Shown(record.dataset, record)


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
