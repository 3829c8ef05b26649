"""A worker whose clock is wrong: `python -m tests.chaos.worker SECONDS`. Its children run `tests.chaos.child`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import time_machine

from secateur.workers import app


def main() -> None:
    skew = timedelta(seconds=float(sys.argv.pop()))
    with time_machine.travel(datetime.now(UTC) + skew, tick=True):
        app.main("tests.chaos.child")


if __name__ == "__main__":
    main()
