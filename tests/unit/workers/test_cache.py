"""Uploaded data sets on a worker's machine."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from secateur.core.errors import FailedPrecondition, NotFound
from secateur.store.blobs import BlobStore
from secateur.workers import cache
from secateur.workers.cache import DatasetCache
from tests.support.s3 import S3

KILLED = """
import resource, signal, sys
from pathlib import Path
from secateur.store.blobs import BlobStore
from secateur.workers.cache import DatasetCache

signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
DatasetCache(BlobStore(sys.argv[1]), Path(sys.argv[2])).path(sys.argv[3])
"""
"""Is killed after the first 100 bytes of a file."""
DATA = bytes(range(256)) * 100


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri())


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_a_file_is_fetched_once_and_then_there_without_the_blob_store(blobs: BlobStore, kept: Path, tmp_path: Path) -> None:
    digest = blobs.put(DATA)
    path = DatasetCache(blobs, kept).path(digest)
    assert path.read_bytes() == DATA
    (tmp_path / "blobs").rename(tmp_path / "gone")
    assert DatasetCache(blobs, kept).path(digest) == path
    assert list(kept.iterdir()) == [path]


def test_a_damaged_file_is_fetched_again(blobs: BlobStore, kept: Path) -> None:
    digest = blobs.put(DATA)
    path = DatasetCache(blobs, kept).path(digest)
    path.write_bytes(DATA[:-1])
    assert DatasetCache(blobs, kept).path(digest).read_bytes() == DATA


def test_a_blob_that_is_damaged_or_gone_leaves_nothing(blobs: BlobStore, kept: Path, tmp_path: Path) -> None:
    digest = blobs.put(DATA)
    (blob,) = (path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
    blob.write_bytes(b"other")
    with pytest.raises(FailedPrecondition, match=hashlib.sha256(b"other").hexdigest()) as caught:
        DatasetCache(blobs, kept).path(digest)
    assert caught.value.reason == "DATASET_CORRUPT"
    with pytest.raises(NotFound):
        DatasetCache(blobs, kept).path("0" * 64)
    assert list(kept.iterdir()) == []


def test_what_was_not_used_longest_makes_room(blobs: BlobStore, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 200)
    files = DatasetCache(blobs, kept)
    digests = [blobs.put(bytes([number]) * 100) for number in range(4)]
    for age, digest in enumerate(digests[:2]):
        path = files.path(digest)
        os.utime(path, (age, age))
    files.path(digests[0])  # used again, so the other one goes
    files.path(digests[2])
    assert {path.stem for path in kept.iterdir()} == {digests[0], digests[2]}


def test_the_newest_file_stays_whatever_its_size_and_its_time(
    blobs: BlobStore, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = DatasetCache(blobs, kept)
    others = [files.path(blobs.put(bytes([number]) * 100)) for number in range(2)]
    for path, age in zip(others, (-1000, -2000), strict=True):
        os.utime(path, (time.time() - age,) * 2)  # another worker has just used them, and its clock is ahead
    monkeypatch.setattr(cache, "MAX_BYTES", 200)
    newest = files.path(blobs.put(bytes([2]) * 100))
    assert set(kept.iterdir()) == {newest, others[1]}
    monkeypatch.setattr(cache, "MAX_BYTES", 50)
    larger = files.path(blobs.put(bytes([3]) * 100))
    assert set(kept.iterdir()) == {larger}


def test_what_attempts_have_left_that_were_killed_goes_after_a_day(blobs: BlobStore, kept: Path, tmp_path: Path) -> None:
    digest = blobs.put(DATA)

    def left_by_a_killed_one() -> Path:
        before = set(kept.glob("*"))
        killed = subprocess.run([sys.executable, "-c", KILLED, (tmp_path / "blobs").as_uri(), kept, digest])
        assert killed.returncode == -signal.SIGXFSZ
        (left,) = set(kept.iterdir()) - before
        return left

    old, new = left_by_a_killed_one(), left_by_a_killed_one()
    yesterday = time.time() - 25 * 3600
    foreign = kept / ".nfs0000000000000001"
    foreign.touch()
    for each in (old, foreign):
        os.utime(each, (yesterday, yesterday))
    path = DatasetCache(blobs, kept).path(digest)
    assert set(kept.iterdir()) == {path, new, foreign}  # `new` may be somebody's who is at it


def test_a_file_that_another_worker_removes_meanwhile_is_no_error(blobs: BlobStore, kept: Path) -> None:
    kept.mkdir()
    (kept / f"{'0' * 64}.npz").symlink_to("gone")  # listed, and not there when it is looked at
    assert DatasetCache(blobs, kept).path(blobs.put(DATA)).read_bytes() == DATA


def test_a_file_comes_from_s3_too(s3: S3, kept: Path) -> None:
    blobs = BlobStore(s3.bucket())
    digest = blobs.put(DATA * 500)  # more than one request
    path = DatasetCache(blobs, kept).path(digest)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert list(kept.iterdir()) == [path]
