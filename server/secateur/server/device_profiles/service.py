"""DeviceProfileService over gRPC."""

from __future__ import annotations

from google.protobuf import empty_pb2

from secateur.server import names
from secateur.server.device_profiles import handlers, mapping
from secateur.server.rpc import Context
from secateur.server.threads import Threads
from secateur.store import Store
from secateur.v1 import device_profile_service_pb2, device_profile_service_pb2_grpc


class DeviceProfileService(device_profile_service_pb2_grpc.DeviceProfileServiceServicer):
    """Keeps classes of hardware.

    Args:
        store: Where those of projects are.
        threads: Where handlers run.
    """

    def __init__(self, store: Store, threads: Threads) -> None:
        self._store = store
        self._threads = threads

    async def CreateDeviceProfile(
        self, request: device_profile_service_pb2.CreateDeviceProfileRequest, context: Context
    ) -> device_profile_service_pb2.DeviceProfile:
        """Adds a device profile to a project."""
        command = mapping.create_from_proto(request)
        profile = await self._threads.run(handlers.create_device_profile, command, store=self._store)
        return mapping.profile_to_proto(profile)

    async def GetDeviceProfile(
        self, request: device_profile_service_pb2.GetDeviceProfileRequest, context: Context
    ) -> device_profile_service_pb2.DeviceProfile:
        """Returns one device profile."""
        name = names.device_profile_of(request.name)
        profile = await self._threads.run(handlers.get_device_profile, name, store=self._store)
        return mapping.profile_to_proto(profile)

    async def ListDeviceProfiles(
        self, request: device_profile_service_pb2.ListDeviceProfilesRequest, context: Context
    ) -> device_profile_service_pb2.ListDeviceProfilesResponse:
        """Lists device profiles by name: the built-in ones, then those of a project."""
        query = mapping.list_from_proto(request)
        page = await self._threads.run(handlers.list_device_profiles, query, store=self._store)
        return mapping.page_to_proto(page)

    async def DeleteDeviceProfile(
        self, request: device_profile_service_pb2.DeleteDeviceProfileRequest, context: Context
    ) -> empty_pb2.Empty:
        """Deletes a device profile of a project."""
        name = names.device_profile_of(request.name)
        await self._threads.run(handlers.delete_device_profile, name, store=self._store)
        return empty_pb2.Empty()
