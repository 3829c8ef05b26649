from __future__ import annotations

import os
import sys

import pytest

from secateur.workers.engine.streams import captured_stderr


def test_native_and_python_writes_are_both_caught(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_stderr() as captured:
        os.write(2, b"from native code\n")
        sys.__stderr__.write("from Python\n")  # type: ignore[union-attr]
    assert captured.text.splitlines() == ["from native code", "from Python"]
    assert capfd.readouterr().err == ""


def test_stderr_is_itself_again_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_stderr():
        pass
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_what_was_written_before_an_error_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with captured_stderr():
            os.write(2, b"the reason")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert capfd.readouterr().err == "the reason"
