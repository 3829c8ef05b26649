"""DeviceProfileService over gRPC."""

from __future__ import annotations

from secateur.server.device_profiles import handlers, mapping
from secateur.server.rpc import Context
from secateur.v1 import device_profile_service_pb2, device_profile_service_pb2_grpc


class DeviceProfileService(device_profile_service_pb2_grpc.DeviceProfileServiceServicer):
    """Lists classes of hardware."""

    async def ListDeviceProfiles(
        self, request: device_profile_service_pb2.ListDeviceProfilesRequest, context: Context
    ) -> device_profile_service_pb2.ListDeviceProfilesResponse:
        """Lists device profiles by name."""
        return mapping.page_to_proto(handlers.list_device_profiles(request.page_size, request.page_token))
