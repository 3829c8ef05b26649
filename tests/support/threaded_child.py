"""A child whose framework starts a thread when it is loaded, so that it cannot be forked."""

from __future__ import annotations

import threading

import tests.chaos.child
from secateur.workers import child


def load_engine() -> child.RunTarget:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return tests.chaos.child.run_target


if __name__ == "__main__":
    child.main(load_engine)
