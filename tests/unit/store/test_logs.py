"""Logs: JSON lines on standard error, whoever writes them."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import io, logging, structlog, sys
early = structlog.get_logger("ours")
from secateur.store.logs import configure_logs
configure_logs("INFO")
sys.stderr = io.StringIO()  # as Celery does
early.info("started", job="j1")
early.debug("hidden")
logging.getLogger("library").warning("slow by %s s", 3)
try:
    {}["nothing"]
except KeyError:
    early.exception("broken")
"""


def test_every_line_is_one_json_object() -> None:
    # A process of its own: logging is configured once per process.
    done = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    started, slow, broken = map(json.loads, done.stderr.splitlines())
    assert (started["event"], started["level"], started["logger"], started["job"]) == ("started", "info", "ours", "j1")
    assert (slow["event"], slow["level"], slow["logger"]) == ("slow by 3 s", "warning", "library")
    assert (broken["event"], broken["level"]) == ("broken", "error")
    assert "KeyError" in broken["exception"]
