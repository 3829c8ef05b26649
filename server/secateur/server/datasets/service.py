"""DatasetService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from secateur.server import names
from secateur.server.datasets import handlers, mapping
from secateur.server.datasets.intake import Intake
from secateur.server.rpc import Context
from secateur.server.threads import Threads
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.uploads import UploadStore
from secateur.v1 import dataset_service_pb2, dataset_service_pb2_grpc

_ACCEPTED: Final = (("x-upload", "accepted"),)
"""Initial metadata of an upload whose bytes are wanted."""


class DatasetService(dataset_service_pb2_grpc.DatasetServiceServicer):
    """Keeps data sets.

    Args:
        store: Where those of projects are.
        blobs: Where their files are.
        uploads: Where files are that are not whole yet.
        threads: Where handlers run.
        blob_threads: Where those run that wait for the blob store.
        retention: How long a deleted data set can be undeleted.
        at_once: Uploads whose bytes are taken in at once, at most half of them of one project.
        idle_seconds: How long an upload may send nothing.
    """

    def __init__(
        self,
        *,
        store: Store,
        blobs: BlobStore,
        uploads: UploadStore,
        threads: Threads,
        blob_threads: Threads,
        retention: timedelta,
        at_once: int,
        idle_seconds: float,
    ) -> None:
        self._store = store
        self._intake = Intake(store, blobs, uploads, at_once=at_once, idle_seconds=idle_seconds)
        self._threads = threads
        self._blob_threads = blob_threads
        self._retention = retention

    async def UploadDataset(
        self, request_iterator: AsyncIterator[dataset_service_pb2.UploadDatasetRequest | memoryview], context: Context
    ) -> dataset_service_pb2.Dataset:
        """Uploads a data set."""
        record = await self._intake.take_in(
            mapping.parts_from_proto(request_iterator),
            threads=self._blob_threads,
            on_accepted=lambda: context.send_initial_metadata(_ACCEPTED),
        )
        return mapping.dataset_to_proto(handlers.Shown(record.dataset, record))

    async def QueryDatasetUpload(
        self, request: dataset_service_pb2.QueryDatasetUploadRequest, context: Context
    ) -> dataset_service_pb2.QueryDatasetUploadResponse:
        """Tells how much of a file is here."""
        project = names.project_of(request.parent)
        committed = await self._blob_threads.run(self._intake.committed, project, request.sha256)
        return dataset_service_pb2.QueryDatasetUploadResponse(committed_size=committed)

    async def GetDataset(self, request: dataset_service_pb2.GetDatasetRequest, context: Context) -> dataset_service_pb2.Dataset:
        """Returns one data set."""
        shown = await self._threads.run(handlers.get_dataset, names.dataset_of(request.name), store=self._store)
        return mapping.dataset_to_proto(shown)

    async def DeleteDataset(
        self, request: dataset_service_pb2.DeleteDatasetRequest, context: Context
    ) -> dataset_service_pb2.Dataset:
        """Deletes a data set of a project."""
        shown = await self._threads.run(
            handlers.delete_dataset,
            names.dataset_of(request.name),
            allow_missing=request.allow_missing,
            keep=self._retention,
            store=self._store,
        )
        return mapping.dataset_to_proto(shown) if shown else dataset_service_pb2.Dataset()

    async def UndeleteDataset(
        self, request: dataset_service_pb2.UndeleteDatasetRequest, context: Context
    ) -> dataset_service_pb2.Dataset:
        """Undoes the deletion of a data set."""
        shown = await self._threads.run(handlers.undelete_dataset, names.dataset_of(request.name), store=self._store)
        return mapping.dataset_to_proto(shown)

    async def ListDatasets(
        self, request: dataset_service_pb2.ListDatasetsRequest, context: Context
    ) -> dataset_service_pb2.ListDatasetsResponse:
        """Lists data sets by name: the built-in ones, then those of a project."""
        page = await self._threads.run(handlers.list_datasets, mapping.list_from_proto(request), store=self._store)
        return mapping.page_to_proto(page)
