"""Native code writes where it likes; this catches it at the file descriptor."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_diverted = threading.Lock()


@dataclass(slots=True)
class Captured:
    """What was written; filled in when the `with` block ends."""

    text: str = ""


@contextmanager
def captured_stderr() -> Iterator[Captured]:
    """Catches what anything in this process, native code included, writes to file descriptor 2.

    If the block raises, the text is passed on to the real stderr, where it may explain the error. Not re-entrant; a second
    thread waits for the first to finish.
    """
    captured = Captured()
    with _diverted, tempfile.TemporaryFile() as sink:
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(sink.fileno(), 2)
        try:
            yield captured
        except BaseException:
            captured.text = _restore(real, sink.fileno())
            os.write(2, captured.text.encode())
            raise
        captured.text = _restore(real, sink.fileno())


def _restore(real: int, sink: int) -> str:
    sys.stderr.flush()
    os.dup2(real, 2)
    os.close(real)
    os.lseek(sink, 0, os.SEEK_SET)
    with os.fdopen(os.dup(sink), "rb") as written:
        return written.read().decode(errors="replace")
