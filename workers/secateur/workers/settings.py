"""Settings of a worker."""

from __future__ import annotations

import socket
from os import getpid
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from secateur.core.routing import Need
from secateur.store.settings import Settings


def _split(names: object) -> object:
    return names.replace(" ", "").split(",") if isinstance(names, str) else names


class WorkerSettings(Settings):
    """Settings of a worker, beside those of the store; all from `SECATEUR_*` environment variables.

    Args:
        worker_name: Who holds a lease, for people.
        poll_seconds: How often a running attempt looks for a cancel and renews its lease.
        datasets_dir: Folder in which `{name}.npz` of a registered data set is looked for before Keras downloads it; None for
            none.
        worker_queues: What the jobs that it takes may need, separated by commas. All of it, unless others take the rest.
        worker_device: GPU that it trains on, as `CUDA_VISIBLE_DEVICES` names it; empty for none. None leaves that variable as
            it is.
    """

    may_be_empty: ClassVar[frozenset[str]] = frozenset({"worker_device"})

    worker_name: str = Field(default_factory=lambda: f"{socket.gethostname()}/{getpid()}")
    poll_seconds: float = Field(default=1.0, gt=0)
    datasets_dir: Path | None = None
    worker_queues: Annotated[tuple[Need, ...], NoDecode, BeforeValidator(_split)] = Field(default=tuple(Need), min_length=1)
    worker_device: str | None = None

    @property
    def cache_dir(self) -> Path:
        """Folder that keeps uploaded data sets on this machine."""
        return self.data_dir / "cache"
