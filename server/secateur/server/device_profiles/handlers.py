"""Lists device profiles."""

from __future__ import annotations

from secateur.core import devices
from secateur.core.devices import DeviceProfile
from secateur.core.errors import InvalidArgument
from secateur.store.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from secateur.store.records import Page


def list_device_profiles(page_size: int, page_token: str) -> Page[DeviceProfile]:
    """Returns one page of the built-in profiles by name; a token is the id of the last profile seen.

    Raises:
        InvalidArgument: PAGE_TOKEN_INVALID.
    """
    if page_token and page_token not in devices.PROFILES:
        raise InvalidArgument(
            "PAGE_TOKEN_INVALID",
            f"Pass on the token that the answer before gave, or leave it empty. Received: {page_token}",
            field="page_token",
        )
    ids = [identifier for identifier in sorted(devices.PROFILES) if identifier > page_token]
    size = min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    page = tuple(devices.PROFILES[identifier] for identifier in ids[:size])
    return Page(page, next_page_token=page[-1].id if len(ids) > size else "")
