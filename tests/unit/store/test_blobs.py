"""Blobs: complete or absent, kept once."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import boto3
import pytest

from secateur.core.errors import InvalidArgument, NotFound, Unavailable
from secateur.store.blobs import BlobStore
from secateur.store.files import CHUNK_BYTES, FileSystem
from secateur.store.quarantine import Quarantine
from secateur.store.startup import check_blobs
from secateur.store.uploads import UploadStore
from tests.support.s3 import S3

DATA = bytes(range(256)) * 5000  # a little more than one chunk
DIGEST = hashlib.sha256(DATA).hexdigest()
OTHER_DISK = Path("/dev/shm")
PUT = "import sys; from secateur.store.blobs import BlobStore; BlobStore(sys.argv[1]).put(bytes(range(256)) * 5000)"
HANG = """
import sys, time
from secateur.store.files import FileSystem

class Source:
    left = 20

    def read(self, size):
        Source.left -= 1
        if not Source.left:
            print("ok", end="", flush=True)
            time.sleep(60)
        return bytes(size)

FileSystem(sys.argv[1]).publish(Source(), "a/b")
"""


class Failing(BytesIO):
    """A file whose disk breaks once half of it was read."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > len(self.getbuffer()) // 2 - 1:
            raise OSError("the disk is gone")
        return super().read(min(size or -1, CHUNK_BYTES // 2) if size else size)


@pytest.fixture
def blobs(blob_url: str) -> BlobStore:
    return BlobStore(blob_url)


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


def test_a_file_whose_digest_is_known_is_taken(blobs: BlobStore, tmp_path: Path) -> None:
    for _ in range(2):  # the second is there already
        path = tmp_path / "data.npz"
        path.write_bytes(DATA)
        blobs.take(path, DIGEST)
        assert b"".join(blobs.read(DIGEST)) == DATA


@pytest.mark.skipif(not OTHER_DISK.is_dir(), reason="there is one file system alone")
def test_a_file_of_another_file_system_is_copied(tmp_path: Path) -> None:
    blobs = BlobStore(f"file://{tmp_path}")
    with tempfile.NamedTemporaryFile(dir=OTHER_DISK) as file:
        file.write(DATA)
        file.flush()
        assert Path(file.name).stat().st_dev != tmp_path.stat().st_dev
        blobs.take(Path(file.name), DIGEST)
        assert Path(file.name).read_bytes() == b"".join(blobs.read(DIGEST)) == DATA
    assert [path.read_bytes() for path in files_under(tmp_path)] == [DATA]


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


def test_a_file_that_loses_its_end_while_it_is_read_is_not_taken_for_whole(tmp_path: Path) -> None:
    blobs = BlobStore(f"file://{tmp_path}")
    blobs.put(DATA)
    chunks = blobs.read(DIGEST)
    next(chunks)
    (path,) = files_under(tmp_path)
    os.truncate(path, CHUNK_BYTES)
    with pytest.raises(EOFError, match=f"{len(DATA) - CHUNK_BYTES} bytes early"):
        next(chunks)


def test_what_a_crash_left_unfinished_is_no_blob(tmp_path: Path) -> None:
    blobs = BlobStore(f"file://{tmp_path}")
    blobs.put(b"something else")
    (tmp_path / "incoming" / DIGEST).write_bytes(DATA[:100])
    with pytest.raises(NotFound):
        blobs.size(DIGEST)
    assert blobs.put(DATA) == DIGEST
    assert b"".join(blobs.read(DIGEST)) == DATA


def test_a_new_process_finds_what_an_old_one_put(blob_url: str) -> None:
    reader = BlobStore(blob_url)
    with pytest.raises(NotFound):
        reader.size(DIGEST)
    subprocess.run([sys.executable, "-c", PUT, blob_url], check=True)
    assert reader.size(DIGEST) == len(DATA)


def test_what_others_write_and_remove_is_seen_at_once(s3: S3) -> None:
    url = s3.bucket()
    files, bucket = FileSystem(url), url.removeprefix("s3://").partition("/")[0]
    beside, keys = boto3.client("s3"), ("blobs/a/b/c", "blobs/a/d")
    assert (files.folders("a"), files.sizes("a"), files.size("a/d")) == ([], {}, None)
    for key in keys:
        beside.put_object(Bucket=bucket, Key=key, Body=b"data")
    assert (files.folders("a"), files.sizes("a"), files.size("a/d")) == (["b"], {"b/c": 4, "d": 4}, 4)
    for key in keys:
        beside.delete_object(Bucket=bucket, Key=key)
    assert (files.folders("a"), files.sizes("a"), files.size("a/d")) == ([], {}, None)


def test_a_source_that_fails_in_the_middle_leaves_nothing(blob_url: str) -> None:
    files = FileSystem(blob_url)
    for size in (CHUNK_BYTES, 20 * CHUNK_BYTES):
        with pytest.raises(OSError, match="the disk is gone"):
            files.publish(Failing(bytes(size)), "a/b")
    assert files.sizes("") == {}
    assert files.discard_unfinished(datetime.now(UTC) + timedelta(days=1)) == 0


def test_what_is_not_there_is_read_as_nothing_and_can_be_removed(blob_url: str) -> None:
    files = FileSystem(blob_url)
    files.delete("a/b")
    files.remove("a")
    files.remove_empty("a")
    assert (files.read("a/b"), files.size("a/b"), files.exists("a/b")) == (None, None, False)
    assert (files.folders("a"), files.sizes("a"), files.entries("a")) == ([], {}, {})


def test_a_large_file_is_published_whole(blob_url: str) -> None:
    files, data = FileSystem(blob_url), os.urandom(20 * CHUNK_BYTES + 1)
    files.publish(BytesIO(data), "a/b")
    assert files.read("a/b") == data


def test_what_a_killed_process_left_of_a_large_file_is_removed(blob_url: str, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HANG, blob_url], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(2) == b"ok"
    process.kill()
    process.communicate()
    files = FileSystem(blob_url)

    assert files.size("a/b") is None
    if blob_url.startswith("file"):  # moto begins every upload in 2010
        assert files.discard_unfinished(datetime.now(UTC) - timedelta(minutes=5)) == 0
    for _ in range(2):
        assert files.discard_unfinished(datetime.now(UTC) + timedelta(minutes=5), dry_run=True) == 1
    assert files.discard_unfinished(datetime.now(UTC) + timedelta(minutes=5)) == 1
    assert files.discard_unfinished(datetime.now(UTC) + timedelta(minutes=5)) == 0


def test_what_is_being_written_to_the_store_beside_is_left_alone(s3: S3) -> None:
    url = s3.bucket()
    beside = f"{url}-other"
    with subprocess.Popen([sys.executable, "-c", HANG, beside], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b"ok"
        process.kill()
    later = datetime.now(UTC) + timedelta(minutes=5)
    assert FileSystem(url).discard_unfinished(later) == 0
    assert FileSystem(beside).discard_unfinished(datetime(2009, 1, 1, tzinfo=UTC)) == 0  # moto begins every upload in 2010
    assert FileSystem(beside).discard_unfinished(later) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda url: BlobStore(url).put(DATA),
        lambda url: BlobStore(url).size(DIGEST),
        lambda url: BlobStore(url).read(DIGEST),
        lambda url: BlobStore(url).url(DIGEST, 60),
        lambda url: FileSystem(url).exists("a/b"),
        lambda url: FileSystem(url).publish(BytesIO(bytes(20 * CHUNK_BYTES)), "a/b"),
        lambda url: FileSystem(url).folders("sha256"),
        lambda url: list(Quarantine(FileSystem(url)).held()),
        lambda url: UploadStore(url).committed("p", DIGEST),
        lambda url: FileSystem(url).discard_unfinished(datetime.now(UTC)),
    ],
)
def test_a_bucket_that_is_not_there_is_an_outage_that_names_it(s3: S3, call: Callable[[str], object]) -> None:
    with pytest.raises(Unavailable, match=r"bucket does not exist.*Received: no-such-bucket$") as caught:
        call("s3://no-such-bucket/blobs")
    assert caught.value.reason == "BLOBS_UNAVAILABLE"


def test_an_outage_in_the_middle_of_a_file_is_told(s3: S3) -> None:
    files, data = FileSystem(s3.bucket()), bytes(20 * CHUNK_BYTES)
    files.publish(BytesIO(data), "a/b")
    chunks = files.chunks("a/b", 0, len(data))
    next(chunks)

    class LongSource(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == len(data) // 2:
                outage.enter_context(s3.outage())
            return super().read(size)

    told = []
    with contextlib.ExitStack() as outage:
        for call in (
            lambda: files.publish(LongSource(data), "a/c"),
            lambda: list(chunks),
            lambda: files.publish(BytesIO(b"small"), "a/d"),
            lambda: files.move("a/b", "a/e"),
        ):
            with pytest.raises(Unavailable) as caught:
                call()
            told.append(caught.value)
    assert {error.reason for error in told} == {"BLOBS_UNAVAILABLE"}
    told.clear()
    gc.collect()  # what is left of a file in memory does not come to its end either
    assert files.sizes("a") == {"b": len(data)}


def test_a_store_may_be_a_whole_bucket(s3: S3) -> None:
    bucket = s3.bucket().removesuffix("/blobs")
    with subprocess.Popen([sys.executable, "-c", HANG, bucket], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b"ok"
        process.kill()
    assert FileSystem(bucket).discard_unfinished(datetime.now(UTC) + timedelta(minutes=5)) == 1


def test_only_s3_has_urls_and_they_are_good_for_the_file_without_credentials(s3: S3, tmp_path: Path) -> None:
    local, remote = BlobStore(f"file://{tmp_path}"), BlobStore(s3.bucket())
    for blobs in (local, remote):
        blobs.put(DATA)
    assert local.url(DIGEST, 60) is None
    url = remote.url(DIGEST, 60)
    assert url is not None
    assert s3.environment["AWS_SECRET_ACCESS_KEY"] not in url
    assert "X-Amz-Expires=60" in url
    with urllib.request.urlopen(url) as response:
        assert response.read() == DATA
    with pytest.raises(NotFound):
        remote.url("0" * 64, 60)


def test_the_folder_of_blobs_is_made_for_its_user_alone(tmp_path: Path) -> None:
    check_blobs(f"file://{tmp_path}/data/blobs")
    (tmp_path / "file").touch()
    check_blobs(f"file://{tmp_path}/file/blobs")  # an outage, and no reason not to start
    check_blobs("s3://bucket")  # nor is one of S3, where nothing is made

    assert [(tmp_path / each).stat().st_mode & 0o777 for each in ("data", "data/blobs")] == [0o700, 0o700]
