"""ModelService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

from secateur.server import names
from secateur.server.lists import ListRows
from secateur.server.models import handlers, mapping
from secateur.server.models.resolver import Resolver
from secateur.server.rpc import Context
from secateur.server.threads import Threads
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.v1 import model_service_pb2, model_service_pb2_grpc


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Keeps models and answers devices.

    Args:
        store: Where models are.
        blobs: Where their files are.
        resolver: Finds the model for a device.
        threads: Where handlers run.
        blob_threads: Where those run that wait for the blob store.
        retention: How long a deleted model can be undeleted.
        url_seconds: How long a URL of a file is good for; 0 for no URLs.
    """

    def __init__(
        self,
        *,
        store: Store,
        blobs: BlobStore,
        resolver: Resolver[model_service_pb2.ResolveModelResponse],
        threads: Threads,
        blob_threads: Threads,
        retention: timedelta,
        url_seconds: int,
    ) -> None:
        self._store = store
        self._resolver = resolver
        self._blobs = blobs
        self._threads = threads
        self._blob_threads = blob_threads
        self._retention = retention
        self._url_seconds = url_seconds

    async def GetModel(self, request: model_service_pb2.GetModelRequest, context: Context) -> model_service_pb2.Model:
        """Returns one model."""
        project, model_id = names.in_project(request.name, "models")
        model = await self._threads.run(handlers.get_model, project, model_id, store=self._store)
        return mapping.model_to_proto(model)

    async def ListModels(
        self, request: model_service_pb2.ListModelsRequest, context: Context
    ) -> model_service_pb2.ListModelsResponse:
        """Lists models, newest first unless asked otherwise."""
        query = ListRows.of(names.project_of(request.parent), request)
        page = await self._threads.run(handlers.list_models, query, store=self._store)
        return mapping.page_to_proto(page)

    async def DeleteModel(self, request: model_service_pb2.DeleteModelRequest, context: Context) -> model_service_pb2.Model:
        """Deletes a model."""
        project, model_id = names.in_project(request.name, "models")
        model = await self._threads.run(
            handlers.delete_model,
            project,
            model_id,
            allow_missing=request.allow_missing,
            keep=self._retention,
            store=self._store,
        )
        return mapping.model_to_proto(model) if model else model_service_pb2.Model()

    async def UndeleteModel(self, request: model_service_pb2.UndeleteModelRequest, context: Context) -> model_service_pb2.Model:
        """Undoes the deletion of a model."""
        project, model_id = names.in_project(request.name, "models")
        model = await self._threads.run(handlers.undelete_model, project, model_id, store=self._store)
        return mapping.model_to_proto(model)

    async def ResolveModel(
        self, request: model_service_pb2.ResolveModelRequest, context: Context
    ) -> model_service_pb2.ResolveModelResponse:
        """Returns the most accurate model of a family that fits the device."""
        key, question = mapping.question_of(request)
        response = self._resolver.recall(key, question)
        if response is None:
            query = mapping.resolve_from_proto(request)
            response = await self._threads.run(self._resolver.resolve, query, key, question, mapping.resolution_to_proto)
        return mapping.unless_known(response, request.if_none_match)

    async def DownloadArtifact(
        self, request: model_service_pb2.DownloadArtifactRequest, context: Context
    ) -> AsyncGenerator[model_service_pb2.DownloadArtifactResponse, None]:
        """Streams the bytes of an artifact."""
        query = mapping.read_from_proto(request)
        file = await self._blob_threads.run(
            handlers.open_artifact, query, store=self._store, blobs=self._blobs, url_seconds=self._url_seconds
        )
        yield mapping.header_to_proto(file)
        async with aclosing(self._blob_threads.iterate(file.chunks)) as chunks:
            async for chunk in chunks:
                yield model_service_pb2.DownloadArtifactResponse(data=chunk)
