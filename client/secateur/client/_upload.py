"""A data set to the service: resumed where it broke off, also by another process."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from inspect import isawaitable
from pathlib import Path
from typing import Final

from secateur.client._transport import Transport
from secateur.client.errors import SecateurError
from secateur.v1 import dataset_service_pb2 as datasets_pb

_CHUNK_BYTES: Final = 2**20


async def upload_file(
    transport: Transport, spec: datasets_pb.DatasetSpec, path: Path, on_progress: Callable[[int, int], object]
) -> datasets_pb.Dataset:
    """Uploads a file and registers it as a data set. What the service has of it already is not sent.

    Args:
        transport: Transport to the service.
        spec: What is uploaded; length, digest and offset are filled in.
        path: The file.
        on_progress: Called with the bytes that were sent, counted from the start of the file, and its length. More is sent
            once it has returned, and what it returned, if that can be awaited, is done.

    Raises:
        SecateurError: If the service refuses it or fails for good.
    """
    spec.size_bytes = (await asyncio.to_thread(path.stat)).st_size
    spec.sha256 = await asyncio.to_thread(_digest, path)
    query = datasets_pb.QueryDatasetUploadRequest(parent=spec.parent, sha256=spec.sha256)
    attempts = transport.attempts()
    while True:
        try:
            there = await transport.unary(transport.datasets.QueryDatasetUpload, query)
            if there.committed_size > spec.write_offset:
                attempts.progressed()
            spec.write_offset = there.committed_size
            return await transport.send(transport.datasets.UploadDataset, _messages(spec, path, on_progress))
        except SecateurError as error:
            await attempts.pause(error)


async def _messages(
    spec: datasets_pb.DatasetSpec, path: Path, on_progress: Callable[[int, int], object]
) -> AsyncGenerator[datasets_pb.UploadDatasetRequest, None]:
    sent = spec.write_offset
    yield datasets_pb.UploadDatasetRequest(spec=spec)

    async def tell() -> None:
        if isawaitable(waiting := on_progress(sent, spec.size_bytes)):
            await waiting

    await tell()
    with path.open("rb") as file:
        file.seek(sent)
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield datasets_pb.UploadDatasetRequest(chunk=chunk)
            sent += len(chunk)
            await tell()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
