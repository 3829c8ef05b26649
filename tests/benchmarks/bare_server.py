"""The least that grpc.aio can do, to hold the service against: an empty echo, a stream of chunks, a stream that is
counted, the same of the service's own messages, one of those that is hashed, a stream that is written to a file and synced
once.

`python -m tests.benchmarks.bare_server PORT` serves until it is killed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc.aio

from secateur.store.memory import keep_freed_memory
from secateur.v1.dataset_service_pb2 import UploadDatasetRequest
from secateur.v1.model_service_pb2 import DownloadArtifactResponse

ECHO = "/bare.Bare/Echo"
DOWNLOAD = "/bare.Bare/Download"
UPLOAD = "/bare.Bare/Upload"
KEEP = "/bare.Bare/Keep"
DOWNLOAD_MESSAGES = "/bare.Bare/DownloadMessages"
UPLOAD_MESSAGES = "/bare.Bare/UploadMessages"
HASH_MESSAGES = "/bare.Bare/HashMessages"
CHUNK = bytes(2**20)


async def _echo(request: bytes, context: Any) -> bytes:
    return request


async def _download(request: bytes, context: Any) -> AsyncGenerator[bytes, None]:
    for _ in range(int(request)):
        yield CHUNK


async def _upload(requests: AsyncIterator[bytes], context: Any) -> bytes:
    size = 0
    async for chunk in requests:
        size += len(chunk)
    return str(size).encode()


async def _keep(requests: AsyncIterator[bytes], context: Any) -> bytes:
    with tempfile.TemporaryFile(buffering=0) as file:
        async for chunk in requests:
            await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(os.fsync, file.fileno())
        return str(file.tell()).encode()


async def _download_messages(request: bytes, context: Any) -> AsyncGenerator[DownloadArtifactResponse, None]:
    async for chunk in _download(request, context):
        yield DownloadArtifactResponse(data=chunk)


async def _upload_messages(requests: AsyncIterator[UploadDatasetRequest], context: Any) -> bytes:
    return await _upload((request.chunk async for request in requests), context)


async def _hash_messages(requests: AsyncIterator[UploadDatasetRequest], context: Any) -> bytes:
    digest = hashlib.sha256()
    hashing = asyncio.ensure_future(asyncio.sleep(0))
    async for request in requests:
        await hashing
        hashing = asyncio.ensure_future(asyncio.to_thread(digest.update, request.chunk))  # while the next one comes
    await hashing
    return digest.digest()


async def serve(port: int) -> None:
    """Serves until cancelled."""
    server = grpc.aio.server()
    keep_freed_memory()  # as the service does
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Echo": grpc.unary_unary_rpc_method_handler(_echo),
        "Download": grpc.unary_stream_rpc_method_handler(_download),
        "Upload": grpc.stream_unary_rpc_method_handler(_upload),
        "Keep": grpc.stream_unary_rpc_method_handler(_keep),
        "DownloadMessages": grpc.unary_stream_rpc_method_handler(
            _download_messages, response_serializer=DownloadArtifactResponse.SerializeToString
        ),
        "UploadMessages": grpc.stream_unary_rpc_method_handler(
            _upload_messages, request_deserializer=UploadDatasetRequest.FromString
        ),
        "HashMessages": grpc.stream_unary_rpc_method_handler(
            _hash_messages, request_deserializer=UploadDatasetRequest.FromString
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Bare", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
