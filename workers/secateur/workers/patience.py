"""Waiting for the database: what it cannot answer now is asked again, a little later each time."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from secateur.core.errors import Unavailable

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0


def patiently(call: Callable[[bool], T], *, until: threading.Event) -> T:
    """Calls a function until it finds the database.

    Args:
        call: What to call. It is told whether it was called before: that call may have had its effect all the same.
        until: Set when it is no longer worth waiting.

    Raises:
        Unavailable: DATABASE_UNAVAILABLE, once `until` is set.
    """
    pause, again = _FIRST_PAUSE_S, False
    while True:
        try:
            return call(again)
        except Unavailable:
            # Not all workers at once when it comes back.
            if until.wait(pause * random.uniform(0.5, 1)):  # noqa: S311 - no secret
                raise
            pause, again = min(2 * pause, _LONGEST_PAUSE_S), True
