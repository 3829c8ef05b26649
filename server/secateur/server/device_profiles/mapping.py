"""Device profiles between proto and domain (device_profile_service.proto)."""

from __future__ import annotations

from secateur.core.devices import DeviceProfile
from secateur.server import names
from secateur.store.records import Page
from secateur.v1 import device_profile_service_pb2


def page_to_proto(page: Page[DeviceProfile]) -> device_profile_service_pb2.ListDeviceProfilesResponse:
    """Returns one page of device profiles."""
    return device_profile_service_pb2.ListDeviceProfilesResponse(
        device_profiles=[_profile_to_proto(profile) for profile in page.items], next_page_token=page.next_page_token
    )


def _profile_to_proto(profile: DeviceProfile) -> device_profile_service_pb2.DeviceProfile:
    return device_profile_service_pb2.DeviceProfile(
        name=names.device_profile(profile.id),
        display_name=profile.title,
        clock_hz=profile.clock_hz,
        flash_bytes=profile.flash_bytes,
        ram_bytes=profile.ram_bytes,
        usable_flash_bytes=profile.usable_flash_bytes,
        usable_ram_bytes=profile.usable_ram_bytes,
        macs_per_second=profile.macs_per_second,
        runtime=device_profile_service_pb2.Runtime.Value(f"RUNTIME_{profile.runtime.name}"),
        source=profile.source,
    )
