"""Chunks taken from the wire: only such as a message would carry that is decoded and passes its rules."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from secateur.server import validation
from secateur.server.chunks import FIELDS, chunk_of
from secateur.server.errors import RequestInvalid
from secateur.v1.dataset_service_pb2 import DatasetSpec, UploadDatasetRequest

(FIELD,) = FIELDS.values()
LONGEST = 2**20


def taken(wire: bytes) -> bytes | None:
    chunk = chunk_of(wire, FIELD)
    return None if chunk is None else bytes(chunk)


def as_message(wire: bytes) -> bytes | None:
    """Returns the chunk of a message that may pass and holds nothing else; None for another."""
    try:
        request = UploadDatasetRequest.FromString(wire)
        validation.check(request)
    except (DecodeError, RequestInvalid):
        return None
    return request.chunk if request.WhichOneof("part") == "chunk" else None


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, LONGEST - 1, LONGEST])
def test_a_chunk_is_taken_whatever_its_length(length: int) -> None:
    chunk = bytes(range(256)) * (length // 256) + bytes(length % 256)
    assert taken(UploadDatasetRequest(chunk=chunk).SerializeToString()) == chunk


def test_the_rest_is_left_to_be_decoded_and_checked() -> None:
    whole = UploadDatasetRequest(chunk=b"four").SerializeToString()
    too_long = UploadDatasetRequest(chunk=bytes(LONGEST + 1)).SerializeToString()
    spec = UploadDatasetRequest(spec=DatasetSpec(parent="projects/p")).SerializeToString()
    twice, cut, unknown = whole * 2, whole[:-1], whole + b"\x78\x01"
    for wire in (b"", whole[:1], spec, too_long, twice, cut, unknown):
        assert taken(wire) is None
    assert as_message(too_long) is None


@given(st.binary(max_size=40) | st.binary(max_size=20).map(lambda rest: bytes([FIELD << 3 | 2]) + rest))
@example(b"\x12\x80\x00")
@example(b"\x12\x84\x00four")
@example(b"\x12\x80\x80\x80\x00")
def test_what_is_taken_is_what_the_message_would_carry(wire: bytes) -> None:
    chunk = taken(wire)
    assert chunk is None or chunk == as_message(wire)
