"""Files of a model onto the disk: resumed where they broke off, verified, and never half there."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import urllib.request
from collections.abc import Iterator
from contextlib import aclosing
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, Final

from secateur.client._data import to_data
from secateur.client._files import published
from secateur.client._transport import Transport
from secateur.client.errors import DigestMismatch, SecateurError
from secateur.client.values import Artifact, ModelSnapshot
from secateur.v1 import model_service_pb2 as models_pb

_NAMES: Final = {"keras": "model.keras", "tflm-source": "tflm-source.h"}
"""Files that are no flatbuffers and what they are called."""

_CHUNK_BYTES: Final = 2**20
_URL_TIMEOUT_S: Final = 10.0
"""How long the blob store may do nothing before the service is asked instead."""

_log = logging.getLogger("secateur.client")


def file_name(artifact: Artifact) -> str:
    """Returns what an artifact is called on the disk, for example "litert-int8.tflite"."""
    return _NAMES.get(artifact.format, f"{artifact.format}.tflite")


async def download_artifact(transport: Transport, artifact: Artifact, directory: Path) -> Path:
    """Downloads one artifact to its `file_name` in an existing directory.

    Raises:
        DigestMismatch: If the bytes are not those that the service promised. An older file of that name stays as it was.
        SecateurError: If the service fails for good.
    """
    path = directory / file_name(artifact)
    with published(path) as file:
        received = await _receive(transport, artifact, file)
        if received != artifact.sha256:
            raise DigestMismatch(
                "DIGEST_MISMATCH",
                f"{artifact.name} does not have the promised SHA-256, so nothing was kept; download it again. "
                f"Expected: {artifact.sha256}. Received: {received}",
                field=artifact.name,
            )
    return path


def write_model_json(model: ModelSnapshot, directory: Path) -> None:
    """Writes everything that is known of a model, compliance and measurements included, to `model.json`."""
    with published(directory / "model.json") as file:
        file.write(json.dumps(to_data(model), indent=2).encode() + b"\n")


async def _receive(transport: Transport, artifact: Artifact, file: BinaryIO) -> str:
    """Writes an artifact's bytes to `file` and returns their SHA-256; a broken stream goes on at the offset it reached.

    Where the service tells a URL, the bytes come from there. Should that fail in any way, the service itself sends them.
    """
    digest = hashlib.sha256()
    attempts = transport.attempts()
    offset, accept_url = 0, True
    while offset < artifact.size_bytes:
        request = models_pb.DownloadArtifactRequest(name=artifact.name, read_offset=offset, accept_url=accept_url)
        url = ""
        try:
            async with aclosing(
                transport.stream(transport.models.DownloadArtifact, request, idle=transport.timeout)
            ) as responses:
                async for response in responses:
                    url = url or response.url
                    digest.update(response.data)
                    await asyncio.to_thread(file.write, response.data)
                    offset += len(response.data)
                    attempts.progressed()
        except SecateurError as error:
            await attempts.pause(error)
            continue
        if not url:
            break  # the service has sent all it has; the digest tells whether that is all there should be
        if await asyncio.to_thread(_fetch, url, artifact, file):
            return artifact.sha256
        accept_url = False
    return digest.hexdigest()


def _fetch(url: str, artifact: Artifact, file: BinaryIO) -> bool:
    """Writes what is at a URL to `file`, and returns whether it is the artifact; if not, the file is empty again.

    Raises:
        OSError: If the file cannot be written.
    """
    digest = hashlib.sha256()
    for chunk in _read(url, artifact):
        digest.update(chunk)
        file.write(chunk)
    if digest.hexdigest() == artifact.sha256:
        return True
    file.seek(0)
    file.truncate()
    return False


def _read(url: str, artifact: Artifact) -> Iterator[bytes]:
    """Yields what is at a URL, as far as it can be read and may be the artifact."""
    if not url.startswith(("https://", "http://")):
        return
    size = 0
    try:
        with urllib.request.urlopen(url, timeout=_URL_TIMEOUT_S) as response:  # noqa: S310 -- see above
            while size <= artifact.size_bytes and (chunk := response.read(_CHUNK_BYTES)):
                size += len(chunk)
                yield chunk
    except (OSError, HTTPException) as error:
        _log.info("%s cannot be read at its URL, so the service sends it: %s", artifact.name, error)
