"""The whole service as real processes: the very commands of deploy/local/Procfile, on a port and folder of their own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from migrations.upgrade import upgrade
from secateur.client import Client, Retry
from secateur.store.settings import Settings

ROOT = Path(__file__).parents[2]
COMMANDS = dict(line.split(": ", 1) for line in (ROOT / "deploy/local/Procfile").read_text().splitlines())


FOREIGN = {"APP": "shop", "BROKER_URL": "redis://127.0.0.1:1", "CELERY_BROKER_URL": "redis://127.0.0.1:1"}
"""What other programs that use Celery have in the environment, and what is none of ours."""

PORTS = range(20_000, 30_000)
"""Below those that systems take for outgoing connections: one of those could come in before a server that has yet to start."""


def free_port() -> int:
    """Returns a TCP port that was free a moment ago, drawn from so many that nobody else draws it now."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            port = secrets.choice(PORTS)
            probe.bind(("127.0.0.1", port))
            return port


def until(condition: Callable[[], bool], what: str, timeout: float = 120) -> None:
    """Waits until `condition` holds; fails naming `what` if it does not in `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"timed out after {timeout} s waiting until {what}"
        time.sleep(0.05)


class Stack:
    """Redis, server and worker of one test.

    Args:
        folder: Where data and logs go.
        settings: Further settings by their names in lower case, for example `lease_seconds=3`.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        chosen = {"data_dir": folder, "listen_address": self.address, "lease_seconds": 4, "reap_seconds": 0.5, **settings}
        self.env = {
            **os.environ,
            **FOREIGN,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **{f"SECATEUR_{name.upper()}": str(value) for name, value in chosen.items()},
        }
        self.settings = Settings(data_dir=folder)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        """Starts the named processes of the Procfile."""
        for name in names:
            self._run(name, COMMANDS[name], self.env)

    def add_server(self, token: str | None = None) -> str:
        """Starts one more server on the same data, which asks for tokens if one is given, and returns its address once it
        answers.
        """
        address = f"127.0.0.1:{free_port()}"
        own = {"SECATEUR_LISTEN_ADDRESS": address, "SECATEUR_AUTHENTICATION": "tokens" if token else "none"}
        self._run(f"server at {address}", COMMANDS["server"], self.env | own)
        with Client(address, token=token, retry=Retry(first_contact=120)) as client:
            list(client.device_profiles())
        return address

    def _run(self, name: str, command: str, env: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                ["bash", "-c", command], env=env, stdout=log, stderr=log, start_new_session=True
            )

    def up(self) -> Stack:
        """Migrates the database, starts everything and waits until the server answers."""
        upgrade(self.settings.database_url)
        self.start("redis", "server", "worker")
        self.wait_for_server()
        return self

    def wait_for_server(self) -> None:
        """Waits until the server answers a request."""
        with self.client() as client:
            list(client.device_profiles())

    def client(self) -> Client:
        """Returns a client of this stack's server."""
        return Client(self.address, retry=Retry(first_contact=120))

    def pid(self, name: str) -> int:
        """Process id of the named process."""
        return self._processes[name].pid

    def children_of_worker(self) -> list[psutil.Process]:
        """Child processes of the worker that run training code."""
        return [child for child in psutil.Process(self.pid("worker")).children(recursive=True) if _runs_training_code(child)]

    def kill(self, name: str) -> None:
        """Kills one process as `kill -9` does, and nothing else."""
        self._processes[name].kill()
        self._processes[name].wait()

    def down(self) -> None:
        """Ends everything, children included."""
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def log(self, name: str) -> str:
        """What the named process has written."""
        return (self.folder / f"{name}.log").read_text(errors="replace")


def _runs_training_code(process: psutil.Process) -> bool:
    try:
        return "secateur.workers.child" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False
