"""What goes wrong, and when: drawn from a seed."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final

import psutil

from tests.chaos.cluster import SKEWS, Cluster

KINDS: Final = {
    "kill child": 6,
    "pause child": 2,
    "kill worker": 3,
    "pause worker": 3,
    "kill server": 2,
    "pause server": 2,
    "kill redis": 2,
    "pause redis": 1,
    "kill database": 2,
    "pause database": 2,
    "duplicate message": 6,
    "drop message": 6,
}
"""Every kind of fault, and how often it comes in proportion to the others."""

_LONGEST_PAUSE_S: Final = 6.0
"""Twice a lease: some workers get away with it, some do not."""
_LONGEST_ABSENCE_S: Final = 3.0


class Faults:
    """Breaks a cluster, one fault after the other; several may last at a time.

    Args:
        cluster: What is broken.
        seed: Decides which faults come, in which order, when, and for how long.
    """

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._random = Random(seed)
        self._repairs: dict[str, tuple[float, Callable[[], None]]] = {}
        # Every kind once before any comes a second time: a short run sees them all.
        self._first = [fault for fault in KINDS if self._applies(fault)]
        self._random.shuffle(self._first)
        self._next = 0.0
        self._tried = 0
        self.counts: Counter[str] = Counter()

    def step(self, seconds_between: float, most: float) -> None:
        """Repairs what is due, and breaks something if it is time.

        Args:
            seconds_between: Mean time between two faults.
            most: Faults to try in all.
        """
        now = time.monotonic()
        for name in [name for name, (when, _) in self._repairs.items() if when <= now]:
            self._repairs.pop(name)[1]()
        self._cluster.tend()
        if now >= self._next and self._tried < most:
            self._tried += 1
            self._next = now + seconds_between * self._random.uniform(0.5, 1.5)
            fault = self._first.pop() if self._first else self._draw()
            if self._break(fault):
                self.counts[fault] += 1

    def stop(self) -> None:
        """Repairs everything."""
        for _, repair in self._repairs.values():
            repair()
        self._repairs.clear()

    def _applies(self, fault: str) -> bool:
        return "database" not in fault or self._cluster.postgres is not None

    def _draw(self) -> str:
        faults = [fault for fault in KINDS if self._applies(fault)]
        return self._random.choices(faults, [KINDS[fault] for fault in faults])[0]

    def _break(self, fault: str) -> bool:
        """Returns whether there was something to break."""
        action, _, what = fault.partition(" ")
        # Drawn whether needed or not: the sequence of faults does not hang on how far the jobs are.
        worker, luck, share = self._random.choice(list(SKEWS)), self._random.random(), self._random.random()
        if what == "message":
            return self._cluster.duplicate_message() if action == "duplicate" else self._cluster.drop_message()
        if what == "child":
            return self._break_child(action, luck, share * _LONGEST_PAUSE_S)
        name = worker if what == "worker" else what
        if name in self._repairs:  # still broken
            return False
        if action == "kill":
            self._cluster.kill(name)
            self._later(name, share * _LONGEST_ABSENCE_S, lambda: self._cluster.start(name))
        else:
            self._cluster.signal(name, signal.SIGSTOP)
            self._later(name, share * _LONGEST_PAUSE_S, lambda: self._cluster.signal(name, signal.SIGCONT))
        return True

    def _break_child(self, action: str, luck: float, seconds: float) -> bool:
        children = self._cluster.children()
        if not children:
            return False
        child = children[int(luck * len(children))]
        with suppress(psutil.NoSuchProcess):
            if action == "kill":
                child.kill()
            else:
                child.suspend()
                self._later(f"child {child.pid}", seconds, lambda: _resume(child))
        return True

    def _later(self, name: str, seconds: float, repair: Callable[[], None]) -> None:
        self._repairs[name] = (time.monotonic() + seconds, repair)


def _resume(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.resume()
