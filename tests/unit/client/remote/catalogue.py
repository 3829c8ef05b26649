"""ArchitectureService and DeviceProfileService as a test needs them."""

# ruff: noqa: N802 -- the names of the RPCs
from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf import empty_pb2

from secateur.v1 import architecture_service_pb2 as pb
from secateur.v1 import device_profile_service_pb2 as devices_pb
from secateur.v1 import resources_pb2 as resources_pb
from secateur.v1.architecture_service_pb2_grpc import ArchitectureServiceServicer
from secateur.v1.device_profile_service_pb2_grpc import DeviceProfileServiceServicer
from tests.unit.client.remote.faults import Faults


class Architectures(ArchitectureServiceServicer):
    """Keeps the bytes of every upload, by the SHA-256 of what identifies it."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.stored: dict[str, bytes] = {}

    async def UploadArchitecture(
        self, request_iterator: AsyncIterator[pb.UploadArchitectureRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Architecture:
        first = await anext(request_iterator)
        await self._faults.enter("UploadArchitecture", first, context)
        content = b"".join([message.chunk async for message in request_iterator])
        spec = first.spec
        if spec.WhichOneof("source") == "keras_json":
            assert len(content) == spec.keras_json.size_bytes
            assert hashlib.sha256(content).hexdigest() == spec.keras_json.sha256
        else:
            content = spec.zoo.SerializeToString(deterministic=True)
        digest = hashlib.sha256(content).hexdigest()
        architecture = self._architecture(f"{spec.parent}/architectures/{digest[:16]}", spec.display_name)
        if not spec.validate_only:
            self.stored[architecture.name] = content
        return architecture

    def _architecture(self, name: str, display_name: str = "") -> pb.Architecture:
        return pb.Architecture(
            name=name,
            display_name=display_name,
            input_shape=[8, 8, 1],
            classes=10,
            cost=resources_pb.Cost(parameters=272_474, macs=2_500_000),
            layers=[pb.LayerSummary(name="conv1", op="Conv2D", output_shape=[8, 8, 16], parameters=144, group="conv1")],
            groups=[pb.ChannelGroup(name="conv1", width=16, members=["conv1"], prunable=True)],
        )

    async def GetArchitecture(
        self, request: pb.GetArchitectureRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Architecture:
        await self._faults.enter("GetArchitecture", request, context)
        return self._architecture(request.name)

    async def ListArchitectures(
        self, request: pb.ListArchitecturesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListArchitecturesResponse:
        await self._faults.enter("ListArchitectures", request, context)
        return pb.ListArchitecturesResponse(architectures=map(self._architecture, self.stored))


class DeviceProfiles(DeviceProfileServiceServicer):
    """Knows two built-in profiles, one of a runtime that this SDK does not know, and keeps what is added."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        built_in = devices_pb.DeviceProfile(
            name="deviceProfiles/stm32f746", display_name="STM32F746 Discovery", clock_hz=216_000_000, macs_per_second=1e8
        )
        built_in.MergeFromString(bytes([9 << 3, 17]))  # field `runtime` = 17
        other = devices_pb.DeviceProfile(name="deviceProfiles/stm32h743", runtime=devices_pb.RUNTIME_TFLM)
        self.stored = {built_in.name: built_in, other.name: other}

    async def CreateDeviceProfile(
        self, request: devices_pb.CreateDeviceProfileRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> devices_pb.DeviceProfile:
        await self._faults.enter("CreateDeviceProfile", request, context)
        profile = devices_pb.DeviceProfile()
        profile.CopyFrom(request.device_profile)
        profile.name = f"{request.parent}/deviceProfiles/{request.device_profile_id}"
        if not request.validate_only:
            self.stored[profile.name] = profile
        return profile

    async def GetDeviceProfile(
        self, request: devices_pb.GetDeviceProfileRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> devices_pb.DeviceProfile:
        await self._faults.enter("GetDeviceProfile", request, context)
        return self.stored[request.name]

    async def ListDeviceProfiles(
        self, request: devices_pb.ListDeviceProfilesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> devices_pb.ListDeviceProfilesResponse:
        await self._faults.enter("ListDeviceProfiles", request, context)
        scopes = ("deviceProfiles/", f"{request.parent}/") if request.parent else ("deviceProfiles/",)
        names = [name for name in self.stored if name.startswith(scopes)]
        start = names.index(request.page_token) if request.page_token else 0  # one profile per page
        return devices_pb.ListDeviceProfilesResponse(
            device_profiles=[self.stored[names[start]]], next_page_token=names[start + 1] if start + 1 < len(names) else ""
        )

    async def DeleteDeviceProfile(
        self, request: devices_pb.DeleteDeviceProfileRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> empty_pb2.Empty:
        await self._faults.enter("DeleteDeviceProfile", request, context)
        del self.stored[request.name]
        return empty_pb2.Empty()
