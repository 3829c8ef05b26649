"""Files that go out and come in, against bare streams of the same chunks: the section `blobs` of `control_plane`."""

from __future__ import annotations

import asyncio
import hashlib
import io
import operator
import statistics
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from typing import Any

import grpc
import numpy as np

from secateur.v1 import dataset_service_pb2 as datasets_pb
from secateur.v1 import dataset_service_pb2_grpc, model_service_pb2_grpc
from secateur.v1 import model_service_pb2 as models_pb
from tests.benchmarks.bare_server import (
    CHUNK,
    DOWNLOAD,
    DOWNLOAD_MESSAGES,
    HASH_MESSAGES,
    KEEP,
    UPLOAD,
    UPLOAD_MESSAGES,
)
from tests.benchmarks.served import ROUNDS, Service, service
from tests.support.server import train


def transferring(share: float) -> dict[str, Any]:
    """Files go out and come in."""
    size = max(1, int(256 * share))
    with service() as running:
        with running.api() as api:
            job = api.create_job()
            train(running.store, running.blobs, job, flash_bytes=size * len(CHUNK))
        return asyncio.run(_blobs(running, size))


async def _blobs(running: Service, chunks: int) -> dict[str, Any]:
    async with (
        grpc.aio.insecure_channel(running.bare_address) as bare,
        grpc.aio.insecure_channel(running.stack.address) as ours,
    ):
        # One after the other: what uploads leave to be written to the disk would slow the downloads down.
        rates = await _downloads(bare, model_service_pb2_grpc.ModelServiceStub(ours), chunks)
        rates |= await _uploads(bare, dataset_service_pb2_grpc.DatasetServiceStub(ours), chunks)
    return {
        "MiB": chunks,
        **{
            f"{side} / {other}": statistics.median(map(operator.truediv, rates[side], rates[other]))
            for side, *others in (
                ("download", "bare download", "bare download of messages"),
                ("upload", "bare upload", "bare upload of messages", "bare upload that hashes", "bare upload to disk"),
                ("bare upload that hashes", "bare upload of messages"),
            )
            for other in others
        },
        "MiB/s": {name: round(statistics.median(rate)) for name, rate in rates.items()},
    }


async def _downloads(bare: grpc.aio.Channel, models: Any, chunks: int) -> dict[str, list[float]]:
    model = (await models.ListModels(models_pb.ListModelsRequest(parent="projects/default"))).models[0]
    int8 = next(file for file in model.artifacts if file.format == models_pb.ARTIFACT_FORMAT_LITERT_INT8)
    asked, wanted = str(chunks).encode(), models_pb.DownloadArtifactRequest(name=int8.name)
    bytes_only: Any = bare.unary_stream(DOWNLOAD)
    messages: Any = bare.unary_stream(DOWNLOAD_MESSAGES, response_deserializer=models_pb.DownloadArtifactResponse.FromString)
    await _all(bytes_only(b"1"))  # neither side pays for its connection below
    rows = [
        {
            "bare download": chunks / await _seconds(_all(bytes_only(asked))),
            "bare download of messages": chunks / await _seconds(_all(messages(asked))),
            "download": chunks / await _seconds(_all(models.DownloadArtifact(wanted))),
        }
        for _ in range(ROUNDS)
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


async def _uploads(bare: grpc.aio.Channel, sets: Any, chunks: int) -> dict[str, list[float]]:
    bytes_only: Any = bare.stream_unary(UPLOAD)
    keep: Any = bare.stream_unary(KEEP)
    encode = datasets_pb.UploadDatasetRequest.SerializeToString
    messages: Any = bare.stream_unary(UPLOAD_MESSAGES, request_serializer=encode)
    hashed: Any = bare.stream_unary(HASH_MESSAGES, request_serializer=encode)
    rows = []
    for number in range(ROUNDS):
        file = _archive(chunks, seed=number)
        spec = datasets_pb.DatasetSpec(
            parent="projects/default",
            dataset_id=f"set{number}",
            size_bytes=len(file),
            sha256=hashlib.sha256(file).hexdigest(),
        )
        row = {
            "bare upload": chunks / await _seconds(bytes_only(_pieces(file))),
            "bare upload of messages": chunks / await _seconds(messages(_upload(spec, file))),
            "bare upload that hashes": chunks / await _seconds(hashed(_upload(spec, file))),
            "bare upload to disk": chunks / await _seconds(keep(_pieces(file))),
            "upload": chunks / await _seconds(sets.UploadDataset(_upload(spec, file))),
        }
        rows.append(row)
    return {name: [row[name] for row in rows] for name in rows[0]}


async def _seconds(call: Awaitable[object]) -> float:
    begun = time.perf_counter()
    await call
    return time.perf_counter() - begun


async def _all(stream: AsyncIterable[object]) -> None:
    async for _ in stream:
        pass


async def _pieces(file: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(file), len(CHUNK)):
        yield file[start : start + len(CHUNK)]


async def _upload(spec: datasets_pb.DatasetSpec, file: bytes) -> AsyncGenerator[datasets_pb.UploadDatasetRequest, None]:
    yield datasets_pb.UploadDatasetRequest(spec=spec)
    async for piece in _pieces(file):
        yield datasets_pb.UploadDatasetRequest(chunk=piece)


def _archive(mebibytes: int, seed: int) -> bytes:
    """Returns a data set of about so many MiB."""
    random = np.random.default_rng(seed)
    images = mebibytes * 2**20 // (32 * 32 * 3)
    file = io.BytesIO()
    np.savez(
        file,
        x_train=random.integers(0, 256, (images - 10, 32, 32, 3), np.uint8),
        y_train=np.arange(images - 10, dtype=np.uint8) % 10,
        x_test=random.integers(0, 256, (10, 32, 32, 3), np.uint8),
        y_test=np.arange(10, dtype=np.uint8),
    )
    return file.getvalue()
