"""Unfinished uploads: what came is there, whoever reads it and whatever came in between."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.store.uploads import UploadStore

DATA = bytes(range(256)) * 40
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def url(blob_url: str) -> str:
    return blob_url


def copied(uploads: UploadStore, project: str = "p") -> tuple[bytes, str]:
    target = io.BytesIO()
    digest = uploads.copy(project, DIGEST, target)
    return target.getvalue(), digest


def test_parts_join_to_the_file_in_another_process(url: str) -> None:
    for start in range(0, len(DATA), 1_000):
        UploadStore(url).append("p", DIGEST, start, DATA[start : start + 1_000])
    uploads = UploadStore(url)
    assert uploads.committed("p", DIGEST) == len(DATA)
    assert copied(uploads) == (DATA, DIGEST)


def test_what_lies_behind_a_gap_does_not_count(url: str) -> None:
    uploads = UploadStore(url)
    assert uploads.committed("p", DIGEST) == 0
    uploads.append("p", DIGEST, 500, DATA[500:900])
    assert (uploads.committed("p", DIGEST), copied(uploads)[0]) == (0, b"")
    uploads.append("p", DIGEST, 0, DATA[:500])
    assert (uploads.committed("p", DIGEST), copied(uploads)[0]) == (900, DATA[:900])


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 100)), max_size=12))
def test_parts_may_overlap_in_any_way(ranges: list[tuple[int, int]]) -> None:
    uploads = UploadStore(f"memory://{hashlib.sha256(repr(ranges).encode()).hexdigest()}")
    there = set()
    for start, length in ranges:
        uploads.append("p", DIGEST, start, DATA[start : start + length])
        there |= set(range(start, start + length))
    expected = next(byte for byte in range(501) if byte not in there)
    assert uploads.committed("p", DIGEST) == expected
    assert copied(uploads)[0] == DATA[:expected]


def test_a_part_that_a_crash_left_short_does_not_count(tmp_path: Path) -> None:
    uploads = UploadStore(f"file://{tmp_path}")
    uploads.append("p", DIGEST, 0, DATA[:100])
    (part,) = (path for path in tmp_path.rglob("*") if path.is_file())
    part.write_bytes(DATA[:60])
    assert uploads.committed("p", DIGEST) == 0


def test_projects_do_not_see_each_others_bytes(url: str) -> None:
    uploads = UploadStore(url)
    uploads.append("p", DIGEST, 0, DATA)
    assert uploads.committed("q", DIGEST) == 0
    uploads.discard("q", DIGEST)
    assert uploads.committed("p", DIGEST) == len(DATA)
    uploads.discard("p", DIGEST)
    assert uploads.committed("p", DIGEST) == 0


@pytest.mark.parametrize(("project", "digest"), [("../p", DIGEST), ("p", "../x"), ("", DIGEST), ("p", "")])
def test_names_that_could_lead_elsewhere_are_refused(url: str, project: str, digest: str) -> None:
    with pytest.raises(ValueError, match="named by a project"):
        UploadStore(url).committed(project, digest)


def test_an_upload_is_forgotten_once_nobody_goes_on_with_it(url: str) -> None:
    uploads = UploadStore(url)
    uploads.append("p", DIGEST, 0, DATA)
    uploads.append("q", DIGEST, 0, DATA)
    now = datetime.now(UTC)
    assert uploads.discard_stale(now - timedelta(minutes=1)) == 0
    assert uploads.discard_stale(now + timedelta(minutes=1), dry_run=True) == 2
    assert uploads.committed("p", DIGEST) == len(DATA)
    assert uploads.discard_stale(now + timedelta(minutes=1)) == 2
    assert uploads.committed("p", DIGEST) == 0
