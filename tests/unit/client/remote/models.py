"""ModelService as a test scripts it."""

# ruff: noqa: N802 -- the names of the RPCs
from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import grpc

from secateur.v1 import model_service_pb2 as pb
from secateur.v1 import plan_service_pb2 as plans_pb
from secateur.v1 import resources_pb2 as resources_pb
from secateur.v1.model_service_pb2_grpc import ModelServiceServicer
from tests.unit.client.remote.faults import Faults, abort

NAME = "projects/default/models/aa01"
ETAG = "0123456789abcdef"
CONTENT = {"litert-float32": bytes(range(256)) * 1000, "litert-int8": bytes(reversed(range(256))) * 300}
"""Bytes of each file of the one model."""

_FORMATS = {
    "litert-float32": pb.ARTIFACT_FORMAT_LITERT_FLOAT32,
    "litert-int8": pb.ARTIFACT_FORMAT_LITERT_INT8,
    "tflm-source": pb.ARTIFACT_FORMAT_TFLM_SOURCE,
    "keras": pb.ARTIFACT_FORMAT_KERAS,
}
_CHUNK = 10_000


class Models(ModelServiceServicer):
    """Keeps one model of two files."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.offered = dict(CONTENT)
        """The files that the model has."""
        self.content = self.offered.copy()
        """What is sent; other than what is offered it is damaged."""
        self.urls: dict[str, str] = {}
        """Where else files can be read, by format."""
        self.break_after: list[int] = []
        """After how many chunks the next downloads break, one number per download."""

    def model(self) -> pb.Model:
        """Returns the model."""
        artifacts = [
            pb.Artifact(
                name=f"{NAME}/artifacts/{name}",
                format=_FORMATS[name],
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                accuracy=0.975,
                test_images=360,
            )
            for name, content in self.offered.items()
        ]
        return pb.Model(
            name=NAME,
            job="projects/default/jobs/00000001",
            dataset="datasets/digits",
            device_profile="deviceProfiles/stm32f746",
            plan=plans_pb.Plan(
                mode=plans_pb.PLAN_MODE_DEVICE,
                widths=[plans_pb.GroupWidth(group="conv1", width=7, unpruned_width=16)],
                cost=resources_pb.Cost(parameters=40_000, macs=800_000, flops=1_600_000),
            ),
            unpruned_cost=resources_pb.Cost(parameters=272_474, macs=2_500_000, flops=5_000_000),
            artifacts=artifacts,
            measurements=[
                pb.Measurement(
                    name="latency_ms",
                    value=12.5,
                    unit="ms",
                    method="predicted from the profile",
                    format=pb.ARTIFACT_FORMAT_LITERT_INT8,
                ),
                pb.Measurement(
                    name="load_ms",
                    value=3.25,
                    unit="ms",
                    method="to the first result",
                    format=pb.ARTIFACT_FORMAT_LITERT_FLOAT32,
                ),
                pb.Measurement(
                    name="load_ms", value=2.75, unit="ms", method="to the first result", format=pb.ARTIFACT_FORMAT_LITERT_INT8
                ),
            ],
            operator_profiles=[
                pb.OperatorProfile(
                    format=pb.ARTIFACT_FORMAT_LITERT_INT8,
                    method="Each operator alone.",
                    operators=[
                        pb.OperatorTime(operator="CONV_2D", layer="conv1", output_shape=[1, 8, 8, 7], milliseconds=0.75),
                        pb.OperatorTime(operator="FULLY_CONNECTED", output_shape=[1, 10], milliseconds=0.25),
                    ],
                )
            ],
            compliance=[self._compliance()],
            met=True,
        )

    def _compliance(self) -> resources_pb.Compliance:
        return resources_pb.Compliance(
            resource=resources_pb.RESOURCE_LATENCY_MS,
            asked=20,
            achieved=12.5,
            margin=0.375,
            met=True,
            method="predicted",
            origin="budget",
        )

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Model:
        await self._faults.enter("DeleteModel", request, context)
        return self.model()

    async def UndeleteModel(self, request: pb.UndeleteModelRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Model:
        await self._faults.enter("UndeleteModel", request, context)
        return self.model()

    async def GetModel(self, request: pb.GetModelRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Model:
        await self._faults.enter("GetModel", request, context)
        return self.model()

    async def ListModels(
        self, request: pb.ListModelsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListModelsResponse:
        await self._faults.enter("ListModels", request, context)
        return pb.ListModelsResponse(models=[self.model()])

    async def ResolveModel(
        self, request: pb.ResolveModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ResolveModelResponse:
        await self._faults.enter("ResolveModel", request, context)
        if request.if_none_match == ETAG:
            return pb.ResolveModelResponse(etag=ETAG, not_modified=True)
        model = self.model()
        return pb.ResolveModelResponse(
            model=model, artifact=model.artifacts[1], compliance=[self._compliance()], fitting_models=2, etag=ETAG
        )

    async def DownloadArtifact(
        self, request: pb.DownloadArtifactRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.DownloadArtifactResponse]:
        await self._faults.enter("DownloadArtifact", request, context)
        breaks = self.break_after.pop(0) if self.break_after else None
        name = request.name.rpartition("/")[2]
        if request.accept_url and name in self.urls:
            yield pb.DownloadArtifactResponse(url=self.urls[name])
            return
        content = self.content[name]
        for number, start in enumerate(range(request.read_offset, len(content), _CHUNK)):
            if number == breaks:
                await abort(context)
            yield pb.DownloadArtifactResponse(data=content[start : start + _CHUNK])
