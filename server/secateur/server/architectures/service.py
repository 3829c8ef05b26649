"""ArchitectureService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator

from secateur.server import names
from secateur.server.architectures import handlers, mapping
from secateur.server.rpc import Context
from secateur.server.threads import Threads
from secateur.store import Store
from secateur.v1 import architecture_service_pb2, architecture_service_pb2_grpc


class ArchitectureService(architecture_service_pb2_grpc.ArchitectureServiceServicer):
    """Keeps uploaded architectures.

    Args:
        store: Where they are kept.
        threads: Where handlers run.
    """

    def __init__(self, store: Store, threads: Threads) -> None:
        self._store = store
        self._threads = threads

    async def UploadArchitecture(
        self,
        request_iterator: AsyncIterator[architecture_service_pb2.UploadArchitectureRequest],
        context: Context,
    ) -> architecture_service_pb2.Architecture:
        """Uploads an architecture."""
        upload, data = await handlers.receive(mapping.parts_from_proto(request_iterator))
        details = await self._threads.run(handlers.add_architecture, upload, data, store=self._store)
        return mapping.details_to_proto(details)

    async def GetArchitecture(
        self, request: architecture_service_pb2.GetArchitectureRequest, context: Context
    ) -> architecture_service_pb2.Architecture:
        """Returns one architecture."""
        project, architecture_id = names.in_project(request.name, "architectures")
        details = await self._threads.run(handlers.get_architecture, project, architecture_id, store=self._store)
        return mapping.details_to_proto(details)

    async def ListArchitectures(
        self, request: architecture_service_pb2.ListArchitecturesRequest, context: Context
    ) -> architecture_service_pb2.ListArchitecturesResponse:
        """Lists architectures, newest first."""
        project = names.project_of(request.parent)
        page = await self._threads.run(
            handlers.list_architectures, project, request.page_size, request.page_token, store=self._store
        )
        return mapping.page_to_proto(page)
