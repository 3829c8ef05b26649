"""Child processes as their worker sees them: one per attempt, forked off a process that has loaded the frameworks once."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import structlog

from secateur.workers.child import RESOURCES_MISSING
from secateur.workers.nursery import BIRTH, END, FORK
from secateur.workers.protocol import Failed, Job, Message, Ready, decode, encode
from secateur.workers.temporary import TemporaryFolder

CHILD_MODULE: Final = "secateur.workers.child"
"""What a child process runs."""

_GROW: Final = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Has TensorFlow and JAX take GPU memory as they need it. Under the JAX backend both run in one child: TensorFlow exports."""
_STATUS_SECONDS: Final = 5.0
"""How long the nursery may take to say how a child has ended. It does so at once, unless it is gone or stopped."""
_END_SECONDS: Final = 5.0
"""How long the nursery may take to end its children and itself."""

_log = structlog.get_logger(__name__)


def no_room(what: object) -> str:
    """Says what keeps this machine from having one more child."""
    return f"The worker's machine has no room for a training process. Received: {what}"


class Child:
    """One child process, for one job. A thread talks to it, so that nobody waits for the fork.

    Args:
        control: The nursery that forks it. If that is gone, the child counts as dead.
    """

    def __init__(self, control: socket.socket) -> None:
        self._jobs: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._status = "an unknown status"
        self._lock = threading.Lock()
        self._killed = False
        self._process: int | None = None
        self._pid = 0
        self._born = threading.Event()
        talk, their_talk = socket.socketpair()
        life, their_life = socket.socketpair()
        with their_talk, their_life, suppress(ConnectionError):
            socket.send_fds(control, [FORK], [their_talk.fileno(), their_life.fileno()])
        self._thread = threading.Thread(target=self._attend, args=(talk, life), name="child", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Process id, once there is a process; 0 if it was never forked."""
        self._born.wait()
        return self._pid

    @property
    def was_never_born(self) -> bool:
        """Whether it is known by now that there will be no process."""
        return self._born.is_set() and not self._pid

    def send(self, job: Job) -> None:
        """Hands the child its job. A child that has died meanwhile shows at the next `receive`."""
        self._jobs.put(encode(job))

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
            raise EOFError(f"the training process ended with {self._status}")
        return message

    def kill(self) -> None:
        """Ends the process at once, whatever it does; one that is yet to be forked ends as soon as it is."""
        with self._lock:
            self._killed = True
            self._end()
        self._jobs.put(None)
        if self._born.is_set():
            self._thread.join()

    def _end(self) -> None:
        if self._killed and self._process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def _attend(self, talk: socket.socket, life: socket.socket) -> None:
        """Follows the child from its birth to its end. The end is told whatever happens, since somebody waits for it."""
        try:
            with talk:  # a child that is given up ends with it
                self._await_birth(life)
                if (job := self._jobs.get()) is not None:
                    self._relay(job, talk)
        finally:
            with life:
                self._await_end(life)
            self._messages.put(None)

    def _await_birth(self, life: socket.socket) -> None:
        try:
            said, processes, _, _ = socket.recv_fds(life, BIRTH.size, 1)
            (number,) = BIRTH.unpack(said) if said else (0,)
            with self._lock:
                if number > 0:
                    self._pid, (self._process,) = number, processes
                self._end()
        finally:
            self._born.set()
        if number < 0:
            self._messages.put(Failed(RESOURCES_MISSING, no_room(os.strerror(-number)), transient=True))

    def _relay(self, job: bytes, talk: socket.socket) -> None:
        with suppress(ConnectionError), talk.makefile("rb") as lines:
            talk.sendall(job)
            for line in lines:
                if not line.endswith(b"\n"):  # it was killed while it wrote
                    return
                try:
                    message = decode(line)
                except ValueError as error:
                    _log.error("training process given up", error=str(error))
                    return
                if not isinstance(message, Ready):
                    self._messages.put(message)

    def _await_end(self, life: socket.socket) -> None:
        life.settimeout(_STATUS_SECONDS)
        with suppress(TimeoutError, ConnectionError):
            if said := life.recv(END.size):
                self._status = f"status {END.unpack(said)[0]}"
        with self._lock:
            if self._process is not None:
                os.close(self._process)
            self._process = None


class Nursery:
    """The process that loads the frameworks and forks the children of one worker.

    Args:
        device: GPU that every child sees, as `CUDA_VISIBLE_DEVICES` names it; empty for none. None for those that the worker
            sees.
        module: What every child runs.
    """

    def __init__(self, device: str | None = None, module: str = CHILD_MODULE) -> None:
        chosen = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
        self._environment = {**_GROW, **os.environ, **chosen}
        self._module = module
        self._folder = TemporaryFolder()
        self._start()

    def child(self) -> Child:
        """Returns a new child. If the nursery has died, there is a new one, which has to load the frameworks first."""
        if self._process.poll() is not None:
            self._control.close()
            self._start()
        return Child(self._control)

    def close(self) -> None:
        """Ends the nursery and its children. Their temporary files go with them."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.close()

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - the module is named by code
                [sys.executable, "-m", "secateur.workers.nursery", self._module, self._folder.path],
                stdin=theirs.fileno(),
                env=self._environment,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
