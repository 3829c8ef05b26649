"""Structured logs of every process: one JSON object per line on standard error, our own lines and those of libraries."""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import TextIO

import structlog


class _Lines(structlog.WriteLogger):
    """Writes lines to a file.

    Args:
        file: The file.
        name: Name of the module whose lines they are.
    """

    def __init__(self, file: TextIO, name: str = "") -> None:
        super().__init__(file)
        self.name = name


def configure_logs(level: str = "INFO") -> None:
    """Sends every log line, from structlog or the standard library, to standard error as JSON.

    Args:
        level: Least severity that is written.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render = structlog.processors.JSONRenderer()
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # Not through the standard library: it takes twice as long, and every RPC writes a line.
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=partial(_Lines, sys.stderr),  # as it is now: Celery puts something else in its place
        cache_logger_on_first_use=True,
    )
