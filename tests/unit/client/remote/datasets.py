"""DatasetService as a test scripts it."""

# ruff: noqa: N802 -- the names of the RPCs
from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import grpc

from secateur.v1 import dataset_service_pb2 as pb
from secateur.v1.dataset_service_pb2_grpc import DatasetServiceServicer
from tests.unit.client.remote.faults import Faults, abort


class Datasets(DatasetServiceServicer):
    """Knows two built-in sets and keeps what is uploaded, chunk by chunk."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.stored = {
            name: pb.Dataset(name=name, display_name=title, input_shape=[8, 8, 1], classes=10, train_images=1_437)
            for name, title in (("datasets/cifar10", "CIFAR-10"), ("datasets/digits", "Digits"))
        }
        self.received: dict[str, bytes] = {}
        """What has come of every file, by its digest."""
        self.break_after: list[int] = []
        """After how many chunks the next uploads break, one number per upload: as "broken upload" fails, or UNAVAILABLE."""
        self.uploading = 0
        """Uploads that have not ended."""

    async def UploadDataset(
        self, request_iterator: AsyncIterator[pb.UploadDatasetRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Dataset:
        first = await anext(request_iterator)
        await self._faults.enter("UploadDataset", first, context)
        self.uploading += 1
        await context.send_initial_metadata((("x-upload", "accepted"),))
        spec = first.spec
        breaks = self.break_after.pop(0) if self.break_after else None
        assert spec.write_offset == len(self.received.get(spec.sha256, b""))
        number = 0
        try:
            async for message in request_iterator:
                if number == breaks:
                    await self._faults.enter("broken upload", first, context)
                    await abort(context)
                self.received[spec.sha256] = self.received.get(spec.sha256, b"") + message.chunk
                number += 1
        finally:
            self.uploading -= 1
        content = self.received[spec.sha256]
        assert (len(content), hashlib.sha256(content).hexdigest()) == (spec.size_bytes, spec.sha256)
        dataset = pb.Dataset(
            name=f"{spec.parent}/datasets/{spec.dataset_id}",
            display_name=spec.display_name or spec.dataset_id,
            input_shape=[8, 8, 1],
            classes=len(spec.class_names) or 10,
            class_names=spec.class_names,
            train_images=100,
            test_images=25,
            augmentation=spec.augmentation,
            size_bytes=spec.size_bytes,
            sha256=spec.sha256,
        )
        if not spec.validate_only:
            self.stored[dataset.name] = dataset
        return dataset

    async def QueryDatasetUpload(
        self, request: pb.QueryDatasetUploadRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.QueryDatasetUploadResponse:
        await self._faults.enter("QueryDatasetUpload", request, context)
        return pb.QueryDatasetUploadResponse(committed_size=len(self.received.get(request.sha256, b"")))

    async def DeleteDataset(self, request: pb.DeleteDatasetRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Dataset:
        await self._faults.enter("DeleteDataset", request, context)
        return self.stored[request.name]

    async def UndeleteDataset(
        self, request: pb.UndeleteDatasetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Dataset:
        await self._faults.enter("UndeleteDataset", request, context)
        return self.stored[request.name]

    async def GetDataset(self, request: pb.GetDatasetRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Dataset:
        await self._faults.enter("GetDataset", request, context)
        return self.stored[request.name]

    async def ListDatasets(
        self, request: pb.ListDatasetsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListDatasetsResponse:
        await self._faults.enter("ListDatasets", request, context)
        scopes = ("datasets/", f"{request.parent}/") if request.parent else ("datasets/",)
        names = [name for name in self.stored if name.startswith(scopes)]
        start = names.index(request.page_token) if request.page_token else 0  # one data set per page
        return pb.ListDatasetsResponse(
            datasets=[self.stored[names[start]]], next_page_token=names[start + 1] if start + 1 < len(names) else ""
        )
