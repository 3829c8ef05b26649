"""Uploaded data sets on a worker's machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from secateur.core.errors import FailedPrecondition, NotFound
from secateur.store.blobs import BlobStore
from secateur.workers import cache
from secateur.workers.cache import DatasetCache
from tests.support.s3 import S3

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
    monkeypatch.setattr(cache, "MAX_BYTES", 250)
    files = DatasetCache(blobs, kept)
    digests = [blobs.put(bytes([number]) * 100) for number in range(4)]
    for age, digest in enumerate(digests[:2]):
        path = files.path(digest)
        os.utime(path, (age, age))
    files.path(digests[0])  # used again, so the other one goes
    files.path(digests[2])
    assert {path.stem for path in kept.iterdir()} == {digests[0], digests[2]}


def test_a_file_comes_from_s3_too(s3: S3, kept: Path) -> None:
    blobs = BlobStore(s3.bucket())
    digest = blobs.put(DATA * 500)  # more than one request
    path = DatasetCache(blobs, kept).path(digest)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert list(kept.iterdir()) == [path]
