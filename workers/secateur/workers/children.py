"""Child processes: one per attempt, started ahead so that a job does not pay the framework's import."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from types import TracebackType
from typing import Final, Self

from secateur.workers.protocol import Job, Message, Ready, decode, encode

CHILD_MODULE: Final = "secateur.workers.child"
"""What a child process runs."""

_GROW: Final = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Has TensorFlow and JAX take GPU memory as they need it. Under the JAX backend both run in one child: TensorFlow exports."""


class Child:
    """One spawned child process. It imports the framework at once and then waits for its only job.

    Args:
        device: GPU that it sees, as `CUDA_VISIBLE_DEVICES` names it; empty for none. None for those that the worker sees.
        module: What it runs.
    """

    def __init__(self, device: str | None = None, module: str = CHILD_MODULE) -> None:
        chosen = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
        self._process = subprocess.Popen(  # noqa: S603 - the module is named by code
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**_GROW, **os.environ, **chosen},
        )
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name=f"child-{self.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def send(self, job: Job) -> None:
        """Hands the child its job. A child that has died meanwhile shows at the next `receive`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(encode(job))
            self._process.stdin.flush()
        except BrokenPipeError:
            return

    def receive(self, timeout: float) -> Message:
        """Returns the next message.

        Args:
            timeout: Seconds to wait.

        Raises:
            TimeoutError: If no message came in time.
            EOFError: If the child has died; the text says how.
        """
        try:
            message = self._messages.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if message is None:
            raise EOFError(f"the training process ended with status {self._process.wait()}")
        return message

    def kill(self) -> None:
        """Ends the process at once, whatever it does, and frees its pipes."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            return

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                message = decode(line)
                if not isinstance(message, Ready):
                    self._messages.put(message)
        self._messages.put(None)


class ChildPool:
    """Keeps one child warm and hands it out.

    Args:
        device: GPU of every child, see `Child`.
        module: What every child runs, see `Child`.
    """

    def __init__(self, device: str | None = None, module: str = CHILD_MODULE) -> None:
        self._device = device
        self._module = module
        self._lock = threading.Lock()
        self._spare: Child | None = self._start()

    def take(self) -> Child:
        """Returns the warm child, or a new one if it has died or been taken."""
        with self._lock:
            child, self._spare = self._spare, None
        if child is None or not child.is_alive:
            return self._start()
        return child

    def warm(self) -> None:
        """Starts the next child, unless one is waiting already."""
        with self._lock:
            if self._spare is None or not self._spare.is_alive:
                self._spare = self._start()

    def close(self) -> None:
        """Ends the waiting child."""
        with self._lock:
            if self._spare is not None:
                self._spare.kill()
                self._spare = None

    def _start(self) -> Child:
        return Child(self._device, self._module)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
