"""The process that the children of a worker are forked from: `python -m secateur.workers.nursery MODULE FOLDER`.

It loads the frameworks, which takes seconds, once, and runs nothing with them. So an attempt gets a process of its own in
milliseconds. Its stdin is a socket to the worker; it ends when that does, and its children with it.

Temporary files of a child, which may be killed at any time, lie in a folder of its own, which goes with it.

For every child the worker sends `FORK` with two sockets: the child's stdin and stdout, and one on which this process says
`BIRTH`, with a descriptor of the process, and later `END`. Where the machine has no room for a child, it says so and goes on.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, Final, NoReturn

from secateur.workers import child

FORK: Final = b"F"
BIRTH: Final = Struct("i")
"""Process id of the new child; or the negative `errno` that kept it from being born, without a descriptor."""
END: Final = Struct("i")
"""How a child ended: its exit status, or the negative number of the signal that killed it."""

_DEVICES: Final = ("/dev/nvidia", "/dev/kfd", "/dev/dri")
"""Device files that are open in a process that uses a GPU."""


@dataclass(frozen=True, slots=True)
class _Infant:
    pid: int
    life: socket.socket
    folder: str


class Nursery:
    """Forks children for a worker.

    Args:
        control: The worker.
        module: Holds `load_engine`, see `secateur.workers.child`, and serves a job on stdin when it is run.
        folder: Where temporary files go; nobody else's. It is removed once the worker is gone.
    """

    def __init__(self, control: socket.socket, module: str, folder: str) -> None:
        self._control = control
        self._module = module
        self._folder = folder
        self._infants: dict[int, _Infant] = {}

    def run(self) -> NoReturn:
        """Loads and forks until the worker is gone."""
        _use_for_temporary_files(self._folder)
        with _ending_with(self._control, self._folder):
            engine = importlib.import_module(self._module).load_engine()
        can_fork = _can_be_forked()
        gc.freeze()  # a collection would write to every object, and so copy every page that the processes share
        events = select.poll()
        events.register(self._control, select.POLLIN)
        while True:
            for descriptor, _ in events.poll():
                if descriptor in self._infants:
                    events.unregister(descriptor)
                    self._bury(descriptor)
                elif (process := self._bear(engine if can_fork else None)) is not None:
                    events.register(process, select.POLLIN)

    def _bear(self, engine: Any) -> int | None:
        """Forks a child and returns the descriptor of its process, which becomes readable when it ends; None without room.

        Args:
            engine: What it runs its job with; None if it has to load that itself.
        """
        said, sockets, _, _ = socket.recv_fds(self._control, len(FORK), 2)
        if not said:
            self._end()
        talk, life = (socket.socket(fileno=descriptor) for descriptor in sockets)
        try:
            folder = tempfile.mkdtemp(dir=self._folder)
            pid = os.fork()
        except OSError as error:  # to end would cost every attempt at once: the next nursery loads, and fails as well
            with talk, life, suppress(ConnectionError):
                life.send(BIRTH.pack(-(error.errno or errno.EIO)))
            return None
        if pid == 0:
            try:
                life.close()
                self._leave(talk)
                _use_for_temporary_files(folder)
                if engine is None:
                    os.execv(sys.executable, [sys.executable, "-m", self._module])  # noqa: S606 - named by code
                child.main(lambda: engine)
            except BaseException:
                traceback.print_exc()
            os._exit(1)  # whatever happens, no child becomes a nursery
        talk.close()
        process = os.pidfd_open(pid)
        self._infants[process] = _Infant(pid, life, folder)
        with suppress(ConnectionError):
            socket.send_fds(life, [BIRTH.pack(pid)], [process])
        return process

    def _leave(self, talk: socket.socket) -> None:
        """Makes the process that runs this a child: nothing of its nursery or its siblings stays open."""
        os.dup2(talk.fileno(), 0)
        os.dup2(talk.fileno(), 1)
        for one in (talk, self._control, *(infant.life for infant in self._infants.values())):
            one.close()
        for process in self._infants:
            os.close(process)

    def _bury(self, process: int) -> None:
        infant = self._infants.pop(process)
        _, status = os.waitpid(infant.pid, 0)
        os.close(process)
        with infant.life, suppress(ConnectionError):
            infant.life.send(END.pack(os.waitstatus_to_exitcode(status)))
        shutil.rmtree(infant.folder, ignore_errors=True)

    def _end(self) -> NoReturn:
        for process in tuple(self._infants):
            signal.pidfd_send_signal(process, signal.SIGKILL)
            self._bury(process)
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)


def _can_be_forked() -> bool:
    """Whether a forked copy of this process works: neither CUDA nor what another thread was doing survives a fork.

    Importing the frameworks starts neither, but a later release of theirs may.
    """
    files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return threading.active_count() == 1 and not any(name.startswith(_DEVICES) for name in files)


def _use_for_temporary_files(folder: str) -> None:
    """Has this process, and what it starts, make temporary files in a folder."""
    os.environ["TMPDIR"] = tempfile.tempdir = folder


@contextmanager
def _ending_with(worker: socket.socket, folder: str) -> Iterator[None]:
    """Ends this process if the worker goes meanwhile. No thread is left behind: that would not survive a fork."""
    over, end = os.pipe()

    def watch() -> None:
        events = select.poll()
        events.register(worker, 0)  # a hang-up always counts
        events.register(over, select.POLLIN)
        if events.poll()[0][0] != over:
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        os.write(end, b"!")
        watcher.join()
        os.close(over)
        os.close(end)


def main() -> NoReturn:
    """Runs the nursery of the worker at stdin, for the module that the command line names."""
    child.ignore_signals()
    # Python 3.12 counts the threads of OpenBLAS, which stops them for a fork.
    warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
    Nursery(socket.socket(fileno=os.dup(0)), *sys.argv[1:]).run()


if __name__ == "__main__":
    main()
