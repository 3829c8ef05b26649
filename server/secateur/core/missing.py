"""What is said of a resource that is not there: in one place, as another project's must not be told from nobody's."""

from __future__ import annotations

from typing import Final

from secateur.core.errors import NotFound

_KINDS: Final = {
    "architectures": ("ARCHITECTURE_NOT_FOUND", "architecture", "architectures"),
    "datasets": ("DATASET_NOT_FOUND", "data set", "datasets"),
    "deviceProfiles": ("DEVICE_PROFILE_NOT_FOUND", "device profile", "profiles"),
    "jobs": ("JOB_NOT_FOUND", "job", "jobs"),
    "models": ("MODEL_NOT_FOUND", "model", "models"),
}
"""Reason, noun and command of `secateur`, by collection."""

COLLECTIONS: Final = frozenset(_KINDS)
"""The collections whose resources can be missing from a project."""


def missing(collection: str, project: str, identifier: str, *, field: str, which: str = "") -> NotFound:
    """Returns the error of a resource that is not there.

    Args:
        collection: Collection of its name, for example "deviceProfiles".
        project: Project in which it was looked for.
        identifier: What was received.
        field: Field of the request.
        which: What else it would have to be, after a blank: " that was not deleted".
    """
    reason, noun, command = _KINDS[collection]
    return NotFound(
        reason,
        f"There is no such {noun}{which} in project {project}; `secateur {command} list` shows all. Received: {identifier}",
        field=field,
    )
