"""Uploads that are cancelled at an awkward moment, and what they take of memory. All else is tested over the wire."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from migrations.upgrade import upgrade
from secateur.core.errors import InvalidArgument
from secateur.core.specs import Augmentation
from secateur.server.datasets.intake import Intake, Upload
from secateur.server.threads import Threads
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.files import FileSystem
from secateur.store.uploads import UploadStore
from tests.support.stack import until

DATA = b"not a data set" * 1_000
DIGEST = hashlib.sha256(DATA).hexdigest()


def opened(folder: Path) -> list[str]:
    return [file.path for file in psutil.Process().open_files() if file.path.startswith(f"{folder}/")]


def test_a_call_that_is_cancelled_while_its_last_bytes_are_written_leaves_no_file_open(tmp_path: Path) -> None:
    database, files = f"sqlite:///{tmp_path}/secateur.db", (tmp_path / "blobs").as_uri()
    upgrade(database)
    store, uploads, threads = Store(database), UploadStore(files), Threads(1)
    intake = Intake(store, BlobStore(files), uploads, at_once=1, idle_seconds=9)
    go_on = threading.Event()

    async def run() -> None:
        ended = asyncio.Event()
        busy: list[asyncio.Future[bool]] = []

        async def parts() -> AsyncIterator[Upload | memoryview]:
            yield Upload("default", "set", "", len(DATA), DIGEST, 0, (), Augmentation(), validate_only=False)
            yield memoryview(DATA)
            ended.set()

        async def keep_the_thread_busy() -> None:
            busy.append(asyncio.ensure_future(threads.run(go_on.wait, 9)))

        call = asyncio.ensure_future(intake.take_in(parts(), threads=threads, on_accepted=keep_the_thread_busy))
        await ended.wait()
        await asyncio.sleep(0.05)  # the bytes wait to be written, and the call for them
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go_on.set()
        await busy[0]
        await threads.run(lambda: None)  # behind them
        await asyncio.to_thread(until, lambda: not opened(tmp_path / "blobs"), "its file is closed")

    asyncio.run(run())
    assert uploads.committed("default", DIGEST) == len(DATA)
    threads.close()
    store.close()


def test_many_short_chunks_take_little_memory_and_are_one_part(tmp_path: Path) -> None:
    database, files, chunks = f"sqlite:///{tmp_path}/secateur.db", f"memory://{tmp_path}", 20_000
    upgrade(database)
    store, threads = Store(database), Threads(1)
    intake = Intake(store, BlobStore(files), UploadStore(files), at_once=1, idle_seconds=9)
    held: list[int] = []

    async def parts() -> AsyncIterator[Upload | memoryview]:
        yield Upload("default", "set", "", chunks + 1, DIGEST, 0, (), Augmentation(), validate_only=False)
        tracemalloc.start()
        for _ in range(chunks):
            yield memoryview(b"x")
            await asyncio.sleep(0)  # as on a wire
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()

    async def accepted() -> None:
        pass

    with pytest.raises(InvalidArgument, match="20,000 of 20,001 bytes"):
        asyncio.run(intake.take_in(parts(), threads=threads, on_accepted=accepted))
    assert held[0] < 50 * chunks  # a memoryview of its own for each takes four times that
    assert list(FileSystem(files).sizes("uploads").values()) == [chunks]
    threads.close()
    store.close()
