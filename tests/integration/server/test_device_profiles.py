"""Listing device profiles."""

from __future__ import annotations

from secateur.core.devices import PROFILES
from secateur.v1 import device_profile_service_pb2 as pb
from tests.support.server import Api, refusal


def list_profiles(api: Api, **fields: object) -> pb.ListDeviceProfilesResponse:
    response: pb.ListDeviceProfilesResponse = api.device_profiles.ListDeviceProfiles(pb.ListDeviceProfilesRequest(**fields))  # type: ignore[arg-type]
    return response


def test_every_profile_is_listed_by_name(api: Api) -> None:
    profiles = {profile.name.removeprefix("deviceProfiles/"): profile for profile in list_profiles(api).device_profiles}

    assert list(profiles) == sorted(PROFILES)
    found, expected = profiles["stm32f746"], PROFILES["stm32f746"]
    assert (found.display_name, found.clock_hz, found.runtime) == (expected.title, expected.clock_hz, pb.RUNTIME_TFLM)
    assert (found.flash_bytes, found.usable_flash_bytes) == (expected.flash_bytes, expected.usable_flash_bytes)
    assert (found.ram_bytes, found.usable_ram_bytes) == (expected.ram_bytes, expected.usable_ram_bytes)
    assert (found.macs_per_second, found.source) == (expected.macs_per_second, expected.source)


def test_pages_join_to_the_whole_list(api: Api) -> None:
    names: list[str] = []
    token = ""
    while True:
        page = list_profiles(api, page_size=5, page_token=token)
        assert len(page.device_profiles) <= 5
        names.extend(profile.name for profile in page.device_profiles)
        token = page.next_page_token
        if not token:
            break

    assert names == [f"deviceProfiles/{name}" for name in sorted(PROFILES)]


def test_a_page_token_of_nobody_and_a_negative_page_are_refused(api: Api) -> None:
    assert refusal(lambda: list_profiles(api, page_token="made-up")).reason == "PAGE_TOKEN_INVALID"
    assert refusal(lambda: list_profiles(api, page_size=-1)).fields == ["page_size"]
