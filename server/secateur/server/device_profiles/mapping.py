"""Device profiles between proto and domain (device_profile_service.proto)."""

from __future__ import annotations

from typing import Final

from secateur.core.devices import DeviceProfile, Runtime, assumed_bytes_per_second, assumed_seconds_per_operator
from secateur.core.profiles import ProfileName
from secateur.server import names
from secateur.server.device_profiles.handlers import CreateDeviceProfile, ListDeviceProfiles
from secateur.server.vocabulary import word_from_proto, word_to_proto
from secateur.store.records import Page
from secateur.v1 import device_profile_service_pb2

_RUNTIME: Final = "RUNTIME_"


def create_from_proto(request: device_profile_service_pb2.CreateDeviceProfileRequest) -> CreateDeviceProfile:
    """Returns the command of a request, what is unset filled in."""
    message = request.device_profile
    clock_hz = message.clock_hz
    runtime = word_from_proto(device_profile_service_pb2.Runtime, message.runtime, _RUNTIME, Runtime.TFLM)
    bandwidth, overhead = assumed_bytes_per_second(clock_hz), assumed_seconds_per_operator(clock_hz, runtime)
    return CreateDeviceProfile(
        profile=DeviceProfile(
            id=request.device_profile_id,
            title=message.display_name or request.device_profile_id,
            clock_hz=clock_hz,
            flash_bytes=message.flash_bytes,
            ram_bytes=message.ram_bytes,
            macs_per_second=message.macs_per_second,
            bytes_per_second=message.bytes_per_second if message.HasField("bytes_per_second") else bandwidth,
            seconds_per_operator=message.seconds_per_operator if message.HasField("seconds_per_operator") else overhead,
            runtime=runtime,
            source=message.source,
            project=names.project_of(request.parent),
        ),
        request_id=request.request_id,
        validate_only=request.validate_only,
    )


def list_from_proto(request: device_profile_service_pb2.ListDeviceProfilesRequest) -> ListDeviceProfiles:
    """Returns the query of a request."""
    project = names.project_of(request.parent) if request.parent else ""
    return ListDeviceProfiles(project, request.page_size, request.page_token)


def page_to_proto(page: Page[DeviceProfile]) -> device_profile_service_pb2.ListDeviceProfilesResponse:
    """Returns one page of device profiles."""
    return device_profile_service_pb2.ListDeviceProfilesResponse(
        device_profiles=[profile_to_proto(profile) for profile in page.items], next_page_token=page.next_page_token
    )


def profile_to_proto(profile: DeviceProfile) -> device_profile_service_pb2.DeviceProfile:
    """Returns the message of a device profile."""
    return device_profile_service_pb2.DeviceProfile(
        name=names.device_profile(ProfileName.of(profile)),
        display_name=profile.title,
        clock_hz=profile.clock_hz,
        flash_bytes=profile.flash_bytes,
        ram_bytes=profile.ram_bytes,
        usable_flash_bytes=profile.usable_flash_bytes,
        usable_ram_bytes=profile.usable_ram_bytes,
        macs_per_second=profile.macs_per_second,
        bytes_per_second=profile.bytes_per_second,
        seconds_per_operator=profile.seconds_per_operator,
        runtime=word_to_proto(device_profile_service_pb2.Runtime, profile.runtime, _RUNTIME),
        source=profile.source,
    )
