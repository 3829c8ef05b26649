"""Device profiles that projects have added; each is written once and never changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from secateur.core.devices import DeviceProfile
from secateur.core.errors import AlreadyExists, QuotaExceeded
from secateur.core.missing import missing
from secateur.core.profiles import MAX_PROFILES_PER_PROJECT
from secateur.core.serial import from_data, to_data
from secateur.store.database import exclude_others
from secateur.store.requests import RequestKey, RequestKeys
from secateur.store.tables import DeviceProfileRow

_CREATE: Final = "CreateDeviceProfile"


class DeviceProfileRepository:
    """Reads and writes the device profiles of projects inside one transaction.

    Args:
        session: Session of the transaction.
        clock: Returns the current time, aware.
        requests: Idempotency keys in the same transaction.
    """

    def __init__(self, session: Session, clock: Callable[[], datetime], requests: RequestKeys) -> None:
        self._session = session
        self._clock = clock
        self._requests = requests

    def create(self, profile: DeviceProfile, *, request_id: str = "", fingerprint: str = "") -> DeviceProfile:
        """Adds a profile to its project.

        Args:
            profile: The profile; it names its project.
            request_id: Idempotency key: the same key returns the first answer's profile. Empty for none.
            fingerprint: Digest of the request; required with a `request_id`.

        Raises:
            AlreadyExists: DEVICE_PROFILE_EXISTS, if the project has a profile of that id.
            QuotaExceeded: DEVICE_PROFILE_QUOTA, if the project has as many as it may have.
            InvalidArgument: REQUEST_ID_REUSED, if the key was used for another request.
            NotFound: DEVICE_PROFILE_NOT_FOUND, if what the key made was deleted since.
        """
        # One creation at a time per project: each sees all that there are.
        exclude_others(self._session, f"device_profiles/{profile.project}")
        key = RequestKey(profile.project, _CREATE, request_id)
        made = self._requests.answer(key, fingerprint)
        if made is not None:
            return self.get(profile.project, made)
        if self._session.get(DeviceProfileRow, (profile.project, profile.id)) is not None:
            raise _exists(profile)
        self._check_quota(profile.project)
        self._session.add(
            DeviceProfileRow(project=profile.project, id=profile.id, profile=to_data(profile), create_time=self._clock())
        )
        self._requests.remember(key, fingerprint, profile.id)
        self._session.flush()
        return profile

    def get(self, project: str, profile_id: str) -> DeviceProfile:
        """Returns one profile.

        Raises:
            NotFound: DEVICE_PROFILE_NOT_FOUND.
        """
        return from_data(DeviceProfile, self._row(project, profile_id).profile)

    def list(self, project: str) -> tuple[DeviceProfile, ...]:
        """Returns all profiles of a project by id; there are at most `MAX_PROFILES_PER_PROJECT`."""
        rows = self._session.scalars(
            select(DeviceProfileRow.profile).where(DeviceProfileRow.project == project).order_by(DeviceProfileRow.id)
        )
        return tuple(from_data(DeviceProfile, row) for row in rows)

    def delete(self, project: str, profile_id: str) -> None:
        """Deletes one profile. Jobs keep a copy of it.

        Raises:
            NotFound: DEVICE_PROFILE_NOT_FOUND.
        """
        self._session.delete(self._row(project, profile_id))
        self._session.flush()

    def _row(self, project: str, profile_id: str) -> DeviceProfileRow:
        row = self._session.get(DeviceProfileRow, (project, profile_id))
        if row is None:
            raise missing("deviceProfiles", project, profile_id, field="device_profile")
        return row

    def _check_quota(self, project: str) -> None:
        count = self._session.scalar(
            select(func.count()).select_from(DeviceProfileRow).where(DeviceProfileRow.project == project)
        )
        if count is not None and count >= MAX_PROFILES_PER_PROJECT:
            raise QuotaExceeded(
                "DEVICE_PROFILE_QUOTA",
                f"A project may have at most {MAX_PROFILES_PER_PROJECT} device profiles of its own; delete one that is no "
                f"longer needed. Received: one more for project {project}",
                metadata={"limit": str(MAX_PROFILES_PER_PROJECT)},
            )


def _exists(profile: DeviceProfile) -> AlreadyExists:
    return AlreadyExists(
        "DEVICE_PROFILE_EXISTS",
        f"Project {profile.project} has a device profile of this id; choose another id, or delete that profile first, as a "
        f"profile never changes. Received: {profile.id}",
        field="device_profile_id",
    )
