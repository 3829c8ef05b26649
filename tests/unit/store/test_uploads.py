"""Unfinished uploads: what came is there, whoever reads it and whatever came in between."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.store.blobs import BlobStore
from secateur.store.uploads import UploadStore

DATA = bytes(range(256)) * 40
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def url(blob_url: str) -> str:
    return blob_url


def append(uploads: UploadStore, project: str, offset: int, data: bytes) -> None:
    with closing(uploads.writer(project, DIGEST, offset)) as writer:
        writer.write(data)


def copied(uploads: UploadStore, project: str = "p") -> tuple[bytes, str]:
    with uploads.assembled(project, DIGEST) as (file, checksums):
        return file.read_bytes(), checksums.sha256


def test_parts_join_to_the_file_in_another_process(url: str) -> None:
    for start in range(0, len(DATA), 1_000):
        append(UploadStore(url), "p", start, DATA[start : start + 1_000])
    uploads = UploadStore(url)
    assert uploads.committed("p", DIGEST) == len(DATA)
    assert copied(uploads) == (DATA, DIGEST)


def test_what_lies_behind_a_gap_does_not_count(url: str) -> None:
    uploads = UploadStore(url)
    assert uploads.committed("p", DIGEST) == 0
    append(uploads, "p", 500, DATA[500:900])
    assert (uploads.committed("p", DIGEST), copied(uploads)[0]) == (0, b"")
    append(uploads, "p", 0, DATA[:500])
    assert (uploads.committed("p", DIGEST), copied(uploads)[0]) == (900, DATA[:900])


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 100)), max_size=12))
def test_parts_may_overlap_in_any_way(ranges: list[tuple[int, int]]) -> None:
    uploads = UploadStore(f"memory://{hashlib.sha256(repr(ranges).encode()).hexdigest()}")
    there = set()
    for start, length in ranges:
        append(uploads, "p", start, DATA[start : start + length])
        there |= set(range(start, start + length))
    expected = next(byte for byte in range(501) if byte not in there)
    assert uploads.committed("p", DIGEST) == expected
    assert copied(uploads)[0] == DATA[:expected]


def test_a_part_that_a_crash_left_short_does_not_count(tmp_path: Path) -> None:
    uploads = UploadStore(f"file://{tmp_path}")
    append(uploads, "p", 0, DATA[:100])
    (part,) = (path for path in tmp_path.rglob("*") if path.is_file())
    part.write_bytes(DATA[:60])
    assert uploads.committed("p", DIGEST) == 0


def test_what_a_crash_left_behind_what_a_part_is_named_for_does_not_count(tmp_path: Path) -> None:
    uploads = UploadStore(f"file://{tmp_path}")
    append(uploads, "p", 0, DATA[:100])
    (part,) = (path for path in tmp_path.rglob("*") if path.is_file())
    part.write_bytes(DATA[:100] + b"not synced")
    assert (uploads.committed("p", DIGEST), copied(uploads)[0]) == (100, DATA[:100])
    append(uploads, "p", 100, DATA[100:])
    assert copied(uploads) == (DATA, DIGEST)


def test_parts_of_the_release_before_count(tmp_path: Path) -> None:
    folder = tmp_path / "uploads" / "p" / DIGEST
    folder.mkdir(parents=True)
    (folder / f"{0:016}-{100:016}").write_bytes(DATA[:100])
    uploads = UploadStore(f"file://{tmp_path}")
    append(uploads, "p", 100, DATA[100:])
    assert copied(uploads) == (DATA, DIGEST)


def test_who_wrote_all_of_a_file_has_it_in_one_place_and_knows_its_digest(tmp_path: Path) -> None:
    uploads, blobs = UploadStore(f"file://{tmp_path}"), BlobStore(f"file://{tmp_path}")
    with closing(uploads.writer("p", DIGEST, 0)) as writer:
        for start in range(0, len(DATA), 1_000):
            writer.write(DATA[start : start + 1_000])
            writer.hash(DATA[start : start + 1_000])
            assert uploads.committed("p", DIGEST) == min(start + 1_000, len(DATA))
    assert writer.whole(len(DATA) + 1) is None
    whole = writer.whole(len(DATA))
    assert whole is not None
    part = whole[0].stat().st_ino
    with uploads.assembled("p", DIGEST, whole) as (file, checksums):
        assert checksums.sha256 == DIGEST
        blobs.take(file, DIGEST)
    assert uploads.committed("p", DIGEST) == len(DATA)  # who is killed before he has noted the blob goes on here
    uploads.discard("p", DIGEST)
    (blob,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert (blob.stat().st_ino, blob.read_bytes()) == (part, DATA)


def test_who_wrote_a_part_of_a_file_does_not_have_it(url: str) -> None:
    uploads = UploadStore(url)
    append(uploads, "p", 0, DATA[:100])
    with closing(uploads.writer("p", DIGEST, 100)) as writer:
        writer.write(DATA[100:])
        writer.hash(DATA[100:])
    assert writer.whole(len(DATA)) is None
    assert copied(uploads) == (DATA, DIGEST)


def test_a_writer_goes_on_where_another_upload_of_the_file_has_cleared_it_away(url: str) -> None:
    uploads = UploadStore(url)
    with closing(uploads.writer("p", DIGEST, 0)) as writer:
        writer.write(DATA[:100])
        uploads.discard("p", DIGEST)
        writer.write(DATA[100:])
        assert writer.whole(len(DATA)) is None
        assert uploads.committed("p", DIGEST) == 0
    append(uploads, "p", 0, DATA[:100])
    assert copied(uploads) == (DATA, DIGEST)


def test_two_writers_of_one_file_do_not_disturb_each_other(url: str) -> None:
    uploads = UploadStore(url)
    with closing(uploads.writer("p", DIGEST, 0)) as one, closing(uploads.writer("p", DIGEST, 0)) as other:
        for start in range(0, len(DATA), 1_000):
            other.write(DATA[start : start + 1_000])
            one.write(DATA[start : start + 500])
            one.write(DATA[start + 500 : start + 1_000])
    assert copied(uploads) == (DATA, DIGEST)


def test_projects_do_not_see_each_others_bytes(url: str) -> None:
    uploads = UploadStore(url)
    append(uploads, "p", 0, DATA)
    assert uploads.committed("q", DIGEST) == 0
    uploads.discard("q", DIGEST)
    assert uploads.committed("p", DIGEST) == len(DATA)
    uploads.discard("p", DIGEST)
    assert uploads.committed("p", DIGEST) == 0


@pytest.mark.parametrize(("project", "digest"), [("../p", DIGEST), ("p", "../x"), ("", DIGEST), ("p", "")])
def test_names_that_could_lead_elsewhere_are_refused(url: str, project: str, digest: str) -> None:
    with pytest.raises(ValueError, match="named by a project"):
        UploadStore(url).committed(project, digest)


def test_an_upload_that_nobody_goes_on_with_is_stale(url: str) -> None:
    uploads = UploadStore(url)
    append(uploads, "p", 0, DATA)
    append(uploads, "q", 0, DATA)
    now = datetime.now(UTC)
    assert uploads.stale(now - timedelta(minutes=1)) == []
    assert sorted(uploads.stale(now + timedelta(minutes=1))) == [("p", DIGEST), ("q", DIGEST)]


def test_a_file_of_somebody_else_takes_no_upload_with_it(tmp_path: Path) -> None:
    uploads = UploadStore(tmp_path.as_uri())
    append(uploads, "p", 0, DATA)
    strays = [
        tmp_path / "uploads" / place for place in (".DS_Store", "p/notes.txt", f"p/{DIGEST}.old/notes.txt", "Other/a/b/c")
    ]
    for stray in strays:
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.touch()
        os.utime(stray, (0, 0))

    assert uploads.stale(datetime.now(UTC) - timedelta(days=1)) == []
    assert uploads.stale(datetime.now(UTC) + timedelta(days=1)) == [("p", DIGEST)]
    uploads.discard("p", DIGEST)
    assert all(stray.exists() for stray in strays)
