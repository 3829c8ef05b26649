"""Chunks of an upload, taken from the wire as they are.

To decode a message and to check its rules copies each of its bytes several times, which takes longer than to hash them.
"""

from __future__ import annotations

from typing import Final

from buf.validate import validate_pb2
from secateur.v1.dataset_service_pb2 import UploadDatasetRequest

_CHUNK: Final = UploadDatasetRequest.DESCRIPTOR.fields_by_name["chunk"]

FIELDS: Final = {"/secateur.v1.DatasetService/UploadDataset": _CHUNK.number}
"""Number of the field that holds a chunk, by the method whose requests have such."""

_MAX_BYTES: Final = _CHUNK.GetOptions().Extensions[validate_pb2.field].bytes.max_len
"""Longest chunk, as the rule in the .proto file says."""

_LENGTH_DELIMITED: Final = 2
"""Wire type of a bytes field."""


def chunk_of(wire: bytes, field: int) -> memoryview | None:
    """Returns the chunk that a message carries.

    Args:
        wire: The message as it came.
        field: Number of the field of the chunk, at most 15.

    Returns:
        The chunk, which is no copy; None for a message that carries anything else, or a chunk that is too long: it is decoded
        and checked like any other.
    """
    if wire[:1] != bytes([field << 3 | _LENGTH_DELIMITED]):
        return None
    length = 0
    for place, byte in enumerate(wire[1:4]):  # seven bits each, the lowest first; the last has no eighth
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            start = place + 2
            return memoryview(wire)[start:] if len(wire) - start == length <= _MAX_BYTES else None
    return None
