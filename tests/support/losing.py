"""A way to a server on which an answer gets lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_CONTROL_BYTES: Final = 60
"""More than HTTP/2 sends about settings, windows and pings at one time, and less than any answer."""


class LosingProxy:
    """Passes bytes on between clients and a server. After `lose_next` it drops the next answer, and its connection with it.

    Args:
        server: Address of the server, host:port.
    """

    def __init__(self, server: str) -> None:
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._losing = threading.Event()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_next(self) -> None:
        """Has the next answer lost."""
        self._losing.set()

    @property
    def has_lost(self) -> bool:
        """Whether what was to be lost is."""
        return not self._losing.is_set()

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                threading.Thread(target=self._pass_on, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with source:  # the other one is the source of the other thread
            with suppress(OSError):
                while data := source.recv(2**16):
                    if answers and len(data) > _CONTROL_BYTES and self._losing.is_set():
                        self._losing.clear()
                        break
                    target.sendall(data)
            for end in (source, target):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


@contextmanager
def losing(server: str) -> Iterator[LosingProxy]:
    """Runs such a proxy while the block lasts."""
    proxy = LosingProxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
