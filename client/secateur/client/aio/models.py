"""Handle of a model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from pathlib import Path

from secateur.client import _mapping
from secateur.client._download import download_artifact, write_model_json
from secateur.client._files import make_folder
from secateur.client._transport import Transport
from secateur.client._views import ModelView
from secateur.client.errors import UsageError
from secateur.client.values import ModelSnapshot
from secateur.v1 import model_service_pb2 as models_pb


class Model(ModelView):
    """A trained network. `Client` and `Job` make these."""

    def __init__(self, transport: Transport, snapshot: ModelSnapshot) -> None:
        self._transport = transport
        self._snapshot = snapshot

    @classmethod
    async def get(cls, transport: Transport, name: str) -> Model:
        """Reads a model by its resource name."""
        response = await transport.unary(transport.models.GetModel, models_pb.GetModelRequest(name=name))
        return cls(transport, _mapping.model(response))

    async def download(self, directory: str | os.PathLike[str], formats: Collection[str] | None = None) -> list[Path]:
        """Downloads files of the model, and writes what is known of it beside them as `model.json`.

        Every file appears whole and verified or not at all; a broken connection is resumed where it broke.

        Args:
            directory: Where to; it is made if it does not exist.
            formats: Formats wanted, for example `["litert-int8"]`, or the name of one; None for all.

        Returns:
            The paths of the files in the order of `artifacts`: `{format}.tflite`, `tflm-source.h` and `model.keras`.

        Raises:
            UsageError: If the model does not have a wanted format, or nothing can be written there (PATH_UNWRITABLE).
            DigestMismatch: If a file is not what the service promised.
            SecateurError: If the service fails for good.
        """
        offered = [artifact.format for artifact in self.artifacts]
        wanted = offered if formats is None else [formats] if isinstance(formats, str) else list(formats)
        for name in wanted:
            if name not in offered:
                raise UsageError(
                    "FORMAT_UNKNOWN",
                    f"The model has no such format; it has {', '.join(offered)}. Received: {name!r}",
                    field="formats",
                )
        target = Path(directory)
        await asyncio.to_thread(make_folder, target)
        paths = [
            await download_artifact(self._transport, artifact, target)
            for artifact in self.artifacts
            if artifact.format in wanted
        ]
        write_model_json(self._snapshot, target)
        return paths
