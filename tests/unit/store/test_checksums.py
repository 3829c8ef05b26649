"""Checksums of what has passed by, and of any part of it."""

from __future__ import annotations

import hashlib
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.store.checksums import Checksums


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_any_part_of_what_came_in_any_pieces(pieces: list[bytes], data: st.DataObject) -> None:
    checksums = Checksums()
    for piece in pieces:
        checksums.update(piece)
    content = b"".join(pieces)
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    assert checksums.crc32(io.BytesIO(content), start, end) == zlib.crc32(content[start:end])
    assert checksums.sha256 == hashlib.sha256(content).hexdigest()


def test_a_part_past_the_end_has_none() -> None:
    checksums = Checksums()
    checksums.update(b"four")
    with pytest.raises(EOFError, match="3 bytes are missing"):
        checksums.crc32(io.BytesIO(b"four"), 2, 7)


def test_little_is_read_again() -> None:
    """What was damaged since it came is not noticed where it is not read: only what lies before the two places is."""
    checksums, content = Checksums(), bytes(range(250)) * 40
    for start in range(0, len(content), 1_000):
        checksums.update(content[start : start + 1_000])
    kept = bytearray(len(content))
    kept[2_000:2_345], kept[8_000:8_765] = content[2_000:2_345], content[8_000:8_765]
    assert checksums.crc32(io.BytesIO(kept), 2_345, 8_765) == zlib.crc32(content[2_345:8_765])
