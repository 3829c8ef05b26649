"""Takes in architectures and shows them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from secateur.core.cost import LayerCost, LayerShare, cost_of, layer_costs, shares
from secateur.core.errors import InvalidArgument
from secateur.core.graph import (
    ChannelGroup,
    LayerGraph,
    channel_groups,
    check_convertible,
    check_prunable,
    read_keras_json,
    zoo,
)
from secateur.server.fields import under
from secateur.store import Store
from secateur.store.records import ArchitectureRecord, Page

MAX_KERAS_JSON_BYTES: Final = 16 * 1024 * 1024
"""Longest Keras JSON that is taken in."""

_MAX_DISPLAY_NAME: Final = 63


@dataclass(frozen=True, slots=True)
class ZooSource:
    """A network of the built-in zoo.

    Args:
        name: Zoo name.
        input_shape: Height, width, channels.
        classes: Number of classes.
    """

    name: str
    input_shape: tuple[int, int, int]
    classes: int


@dataclass(frozen=True, slots=True)
class KerasJsonSource:
    """Keras JSON that follows in chunks.

    Args:
        size_bytes: Its length.
        sha256: Its digest, hexadecimal.
    """

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Upload:
    """What is uploaded.

    Args:
        project: Project that keeps it.
        display_name: Name for people; empty takes that of the graph.
        source: Where the graph comes from.
        validate_only: Only check and answer.
    """

    project: str
    display_name: str
    source: ZooSource | KerasJsonSource
    validate_only: bool


@dataclass(frozen=True, slots=True)
class ArchitectureDetails:
    """An architecture with its layer table.

    Args:
        record: The architecture.
        groups: Channel groups.
        layer_costs: Cost per layer.
        shares: Share of each prunable layer in the whole.
    """

    record: ArchitectureRecord
    groups: tuple[ChannelGroup, ...]
    layer_costs: Mapping[str, LayerCost]
    shares: Mapping[str, LayerShare]


async def receive(parts: AsyncIterator[Upload | bytes]) -> tuple[Upload, bytes]:
    """Collects an upload, and stops as soon as it is longer than it may be.

    Args:
        parts: What is uploaded, then its chunks.

    Returns:
        What is uploaded, and its bytes; none for a network of the zoo.

    Raises:
        InvalidArgument: ARCHITECTURE_TOO_LARGE; ARCHITECTURE_MALFORMED if the parts are out of order, or their length or
            digest is not as announced.
    """
    upload: Upload | None = None
    data = bytearray()
    async for part in parts:
        if isinstance(part, Upload) == (upload is not None):
            raise _malformed("An upload is one `spec`, then its chunks", field="spec")
        if isinstance(part, Upload):
            upload = part
            _check_announced(upload.source)
        else:
            data += part
            assert upload is not None
            _check_length(upload.source, len(data))
    if upload is None:
        raise _malformed("An upload starts with its `spec`. Received: an empty stream", field="spec")
    if isinstance(upload.source, KerasJsonSource):
        _check_complete(upload.source, bytes(data))
    return upload, bytes(data)


def add_architecture(upload: Upload, data: bytes, *, store: Store) -> ArchitectureDetails:
    """Reads the graph and keeps it; the same graph is kept once.

    Args:
        upload: What is uploaded.
        data: Its bytes.
        store: Where to keep it.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED, LAYER_UNSUPPORTED, GRAPH_NOT_PRUNABLE or ZOO_UNKNOWN.
        QuotaExceeded: UPLOAD_RATE_QUOTA, for one that is not of the zoo.
    """
    if isinstance(upload.source, KerasJsonSource):
        with store.unit_of_work() as work:
            work.quotas.take_upload(upload.project)
            work.commit()
    graph = _read(upload.source, data)
    check_prunable(graph)
    check_convertible(graph)
    with store.unit_of_work() as work:
        name = upload.display_name or graph.name[:_MAX_DISPLAY_NAME]
        record = work.architectures.put(upload.project, graph, cost_of(graph), display_name=name)
        if not upload.validate_only:
            work.commit()
    return _details(record)


def get_architecture(project: str, architecture_id: str, *, store: Store) -> ArchitectureDetails:
    """Returns an architecture.

    Raises:
        NotFound: ARCHITECTURE_NOT_FOUND.
    """
    with store.snapshot() as work:
        return _details(work.architectures.get(project, architecture_id))


def list_architectures(project: str, page_size: int, page_token: str, *, store: Store) -> Page[ArchitectureRecord]:
    """Returns one page of a project's architectures, newest first.

    Raises:
        InvalidArgument: PAGE_TOKEN_INVALID.
    """
    with store.snapshot() as work:
        return work.architectures.list(project, page_size=page_size, page_token=page_token)


def _details(record: ArchitectureRecord) -> ArchitectureDetails:
    return ArchitectureDetails(
        record=record,
        groups=channel_groups(record.graph),
        layer_costs=layer_costs(record.graph),
        shares=shares(record.graph),
    )


def _read(source: ZooSource | KerasJsonSource, data: bytes) -> LayerGraph:
    if isinstance(source, ZooSource):
        with under("spec.zoo"):
            return zoo.build(source.name, source.input_shape, source.classes)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _malformed(f"Keras JSON is UTF-8 text. Received: byte {error.start} is not") from error
    return read_keras_json(text)


def _check_announced(source: ZooSource | KerasJsonSource) -> None:
    if isinstance(source, KerasJsonSource) and source.size_bytes > MAX_KERAS_JSON_BYTES:
        raise InvalidArgument(
            "ARCHITECTURE_TOO_LARGE",
            f"Keras JSON may have at most {MAX_KERAS_JSON_BYTES} bytes (it holds no weights). Received: {source.size_bytes}",
            field="spec.keras_json.size_bytes",
        )


def _check_length(source: ZooSource | KerasJsonSource, received: int) -> None:
    if isinstance(source, ZooSource):
        raise _malformed("A network of the zoo has no chunks. Received: a chunk")
    if received > source.size_bytes:
        raise _malformed(f"More bytes than announced. Received: {received} or more instead of {source.size_bytes}")


def _check_complete(source: KerasJsonSource, data: bytes) -> None:
    if len(data) != source.size_bytes:
        raise _malformed(f"Fewer bytes than announced. Received: {len(data)} instead of {source.size_bytes}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != source.sha256:
        raise _malformed(f"The SHA-256 is not as announced; send it again. Received: {digest}", field="spec.keras_json.sha256")


def _malformed(message: str, *, field: str = "chunk") -> InvalidArgument:
    return InvalidArgument("ARCHITECTURE_MALFORMED", message, field=field)
