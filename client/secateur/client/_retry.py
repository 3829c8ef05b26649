"""When a call is tried again, and when not."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Final

from secateur.client.errors import Cancelled, SecateurError, Unavailable, UsageError

_MAX_SECONDS: Final = 10**9
"""Some thirty years. gRPC lets a call with a much later deadline fail at once."""


def check_seconds(field: str, value: float, most: float = _MAX_SECONDS, *, or_zero: bool = False) -> None:
    """Checks an argument that is a number of seconds.

    Raises:
        UsageError: SECONDS_INVALID, if it is none, or not above zero (with `or_zero` below zero), or more than `most`.
    """
    if not isinstance(value, Real) or not (0 < value <= most or (or_zero and value == 0)):
        least = "0 or more" if or_zero else "above 0"
        bound = "" if math.isinf(most) else f" and at most {most}"
        raise UsageError(
            "SECONDS_INVALID", f"{field} must be a number of seconds, {least}{bound}. Received: {value!r}", field=field
        )


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential back-off with jitter. Only UNAVAILABLE and CANCELLED are tried again: doing it again is safe.

    CANCELLED is how gRPC ends calls that a stopping server has not begun. A call that creates something carries a `request_id`.
    A call that deletes or undeletes gets an error at the second try that shows that the first one did it.

    Args:
        first_delay: Longest pause after the first failure, in seconds.
        max_delay: Longest pause after any failure, in seconds.
        factor: Growth of the pause from one failure to the next.
        first_contact: How long to try a server that has never answered, in seconds, or `inf`: it is probably not there.
        total: How long to try a server that has answered before, in seconds, or `inf`: it is probably restarting.

    Raises:
        UsageError: SECONDS_INVALID, if a time is no number of seconds.
    """

    first_delay: float = 0.1
    max_delay: float = 2.0
    factor: float = 2.0
    first_contact: float = 5.0
    total: float = 60.0

    def __post_init__(self) -> None:
        check_seconds("first_delay", self.first_delay)
        check_seconds("max_delay", self.max_delay)
        check_seconds("first_contact", self.first_contact, math.inf, or_zero=True)
        check_seconds("total", self.total, math.inf, or_zero=True)

    def delays(self) -> Iterator[float]:
        """Yields the pauses between tries, without end."""
        longest = self.first_delay
        while True:
            yield random.uniform(longest / 2, longest)  # noqa: S311 -- jitter, not a secret
            longest = min(longest * self.factor, self.max_delay)


class Attempts:
    """The tries of one logical call.

    Args:
        retry: The rule.
        patience: Tells how long to go on after the first failure of a row, in seconds.
        timeout: Wall-clock bound of the whole call, pauses included, in seconds; None for none.
    """

    def __init__(self, retry: Retry, patience: Callable[[], float], timeout: float | None = None) -> None:
        self._retry = retry
        self._patience = patience
        self._deadline = asyncio.get_running_loop().time() + timeout if timeout is not None else None
        self.progressed()

    def progressed(self) -> None:
        """Notes that something arrived: the next failure is the first of a new row."""
        self._delays = self._retry.delays()
        self._give_up: float | None = None

    @property
    def remaining(self) -> float | None:
        """Seconds until the wall-clock bound; None if there is none."""
        return None if self._deadline is None else max(0.0, self._deadline - asyncio.get_running_loop().time())

    async def pause(self, failure: SecateurError) -> None:
        """Waits before the next try.

        Raises:
            SecateurError: `failure` itself, if it is not one to retry or time is up.
        """
        if not isinstance(failure, Unavailable | Cancelled):
            raise failure
        now = asyncio.get_running_loop().time()
        if self._give_up is None:
            self._give_up = now + self._patience()
        delay = next(self._delays)
        if now + delay > min(self._give_up, self._deadline or self._give_up):
            raise failure
        await asyncio.sleep(delay)
