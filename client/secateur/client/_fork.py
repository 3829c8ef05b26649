"""A process forked from one that has called a server cannot call: gRPC's threads are not in it, and it would wait for ever."""

from __future__ import annotations

import os

from secateur.client.errors import UsageError

_caller: int | None = None
"""The process that made the first call: this one, or the one that it was forked from."""


def is_cut_off() -> bool:
    """Returns whether this process was forked from one that has called a server."""
    return _caller not in (None, os.getpid())


def begin_call() -> None:
    """Notes that this process calls a server.

    Raises:
        UsageError: CLIENT_FORKED, if it cannot. A new client, or one that was closed before the fork, could not either.
    """
    global _caller
    if is_cut_off():
        raise UsageError(
            "CLIENT_FORKED",
            f"Process {os.getpid()} was forked from {_caller} after that had called a server, so gRPC does not work in it. "
            'Start it with multiprocessing.get_context("spawn"), or fork before the first call and make a Client in the child',
        )
    _caller = os.getpid()
