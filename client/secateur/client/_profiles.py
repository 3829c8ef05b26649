"""Which device profile a short name means: "stm32f746" is built in, "my-board" the project's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from secateur.client._transport import Transport
from secateur.v1 import device_profile_service_pb2 as devices_pb
from secateur.v1 import plan_service_pb2 as plans_pb

_PAGE_SIZE: Final = 200


class ProfileNames:
    """Completes short names of device profiles. Which ones are built in it asks the service, and remembers.

    Args:
        transport: Transport to the service.
        parent: Resource name of the project.
    """

    def __init__(self, transport: Transport, parent: str) -> None:
        self._transport = transport
        self._parent = parent
        self._built_in: frozenset[str] = frozenset()

    async def complete(self, name: str) -> str:
        """Returns the resource name of a profile; a full name or an empty one stays as it is.

        Raises:
            SecateurError: If the service fails for good.
        """
        if not name or "/" in name:
            return name
        built_in = f"deviceProfiles/{name}"
        if built_in not in self._built_in:
            self._built_in = await self._read()
        return built_in if built_in in self._built_in else f"{self._parent}/{built_in}"

    async def complete_all(self, targets: Iterable[plans_pb.Target]) -> None:
        """Completes the names in targets. Raises as `complete` does."""
        for target in targets:
            target.device_profile = await self.complete(target.device_profile)

    async def _read(self) -> frozenset[str]:
        names: set[str] = set()
        request = devices_pb.ListDeviceProfilesRequest(page_size=_PAGE_SIZE)
        while True:
            page = await self._transport.unary(self._transport.device_profiles.ListDeviceProfiles, request)
            names.update(profile.name for profile in page.device_profiles)
            if not page.next_page_token:
                return frozenset(names)
            request.page_token = page.next_page_token
