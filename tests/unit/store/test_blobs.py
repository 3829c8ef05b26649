"""Blobs: complete or absent, kept once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from secateur.core.errors import InvalidArgument, NotFound
from secateur.store.blobs import BlobStore
from secateur.store.files import CHUNK_BYTES

DATA = bytes(range(256)) * 5000  # a little more than one chunk
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["file", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """A store in a folder, and one as object stores are: without renaming."""
    return BlobStore(f"file://{tmp_path}/blobs" if request.param == "file" else f"memory://{tmp_path.name}")


def files_under(folder: Path) -> list[Path]:
    """Returns all files below the folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_bytes_come_back(blobs: BlobStore) -> None:
    assert blobs.put(DATA) == DIGEST
    assert blobs.size(DIGEST) == len(DATA)
    chunks = list(blobs.read(DIGEST))
    assert b"".join(chunks) == DATA
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, len(DATA) - CHUNK_BYTES]


def test_a_file_is_the_same_as_its_bytes(blobs: BlobStore, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(DATA)
    assert blobs.put(path) == DIGEST
    assert b"".join(blobs.read(DIGEST)) == DATA
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("offset", "limit"),
    [(0, 0), (0, 1), (5, 0), (CHUNK_BYTES, 10), (CHUNK_BYTES - 1, 2), (3, 10**9), (len(DATA), 0), (len(DATA) - 1, 5)],
)
def test_any_range_can_be_read(blobs: BlobStore, offset: int, limit: int) -> None:
    blobs.put(DATA)
    expected = DATA[offset : offset + limit] if limit else DATA[offset:]
    assert b"".join(blobs.read(DIGEST, offset, limit)) == expected


@pytest.mark.parametrize("offset", [-1, len(DATA) + 1])
def test_an_offset_outside_is_refused(blobs: BlobStore, offset: int) -> None:
    blobs.put(DATA)
    with pytest.raises(InvalidArgument) as caught:
        blobs.read(DIGEST, offset)
    assert (caught.value.reason, caught.value.field) == ("READ_OFFSET_INVALID", "read_offset")


@pytest.mark.parametrize("digest", ["0" * 64, "", "A" * 64, f"../{DIGEST[3:]}", DIGEST + "\n"])
@pytest.mark.parametrize("call", [BlobStore.size, BlobStore.read])
def test_a_missing_blob_is_not_found(blobs: BlobStore, digest: str, call: Callable[[BlobStore, str], object]) -> None:
    blobs.put(DATA)
    with pytest.raises(NotFound) as caught:
        call(blobs, digest)
    assert caught.value.reason == "BLOB_MISSING"


def test_an_empty_blob_is_a_blob(blobs: BlobStore) -> None:
    digest = blobs.put(b"")
    assert blobs.size(digest) == 0
    assert list(blobs.read(digest)) == []


def test_equal_bytes_are_kept_once_and_not_written_again(tmp_path: Path) -> None:
    blobs = BlobStore(f"file://{tmp_path}")
    blobs.put(DATA)
    (path,) = files_under(tmp_path)
    assert str(path.relative_to(tmp_path)) == f"sha256/{DIGEST[:2]}/{DIGEST[2:]}"
    before = path.stat()
    blobs.put(DATA)
    assert files_under(tmp_path) == [path]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_putting_at_once_leaves_one_whole_blob(tmp_path: Path) -> None:
    blobs = BlobStore(f"file://{tmp_path}")
    barrier = threading.Barrier(8)

    def put(_: int) -> str:
        barrier.wait()
        return blobs.put(DATA)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(put, range(8))) == {DIGEST}
    assert [path.read_bytes() for path in files_under(tmp_path)] == [DATA]


def test_a_reader_never_sees_half_a_blob(tmp_path: Path) -> None:
    blobs = BlobStore(f"file://{tmp_path}")
    data = os.urandom(CHUNK_BYTES) * 32
    digest = hashlib.sha256(data).hexdigest()
    done = threading.Event()
    seen: set[int] = set()

    def look() -> None:
        while not done.is_set():
            with contextlib.suppress(NotFound):
                seen.add(blobs.size(digest))

    with ThreadPoolExecutor(1) as pool:
        watcher = pool.submit(look)
        blobs.put(data)
        seen.add(blobs.size(digest))
        done.set()
        watcher.result()
    assert seen == {len(data)}


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    blobs = BlobStore(f"file://{tmp_path}/blobs")
    with pytest.raises(IsADirectoryError):
        blobs.put(tmp_path)
    assert files_under(tmp_path) == []


def test_what_a_crash_left_unfinished_is_no_blob(tmp_path: Path) -> None:
    blobs = BlobStore(f"file://{tmp_path}")
    blobs.put(b"something else")
    (tmp_path / "incoming" / DIGEST).write_bytes(DATA[:100])
    with pytest.raises(NotFound):
        blobs.size(DIGEST)
    assert blobs.put(DATA) == DIGEST
    assert b"".join(blobs.read(DIGEST)) == DATA


def test_a_new_process_finds_what_an_old_one_put(tmp_path: Path) -> None:
    BlobStore(f"file://{tmp_path}").put(DATA)
    assert BlobStore(f"file://{tmp_path}").size(DIGEST) == len(DATA)
