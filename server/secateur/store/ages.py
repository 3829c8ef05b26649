"""How old what nobody needs has to be before it goes. What depends on it: `secateur.store.gc`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

SLACK: Final = timedelta(hours=1)
"""How far clocks may be apart, and how long a sweep may stand still, in all."""

SHORTEST_GRACE: Final = 2 * SLACK
"""Least age at which a blob without a reference is taken for garbage: an hour is left to refer to what was put."""


@dataclass(frozen=True, slots=True)
class Ages:
    """How old what nobody needs has to be.

    Args:
        grace: Blobs without a reference, checkpoints of jobs that have ended, files that were never published.
        uploads: Uploads that nobody goes on with.
        trainings: Trained networks that jobs share: they only save time, so nothing but their age counts.
    """

    grace: timedelta = timedelta(days=1)
    uploads: timedelta = timedelta(days=7)
    trainings: timedelta = timedelta(days=30)
