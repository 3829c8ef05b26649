"""A real S3 of the tests' own: moto's server on a port, and buckets in it."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from unittest import mock

import boto3
from moto.server import ThreadedMotoServer

_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "test-key",
    "AWS_SECRET_ACCESS_KEY": "test-secret-4f1c9a",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "2",  # five by default, with ever longer pauses
}


class S3:
    """A running server.

    Attributes:
        endpoint: Its URL.
        environment: What a process needs in its environment to use it.
    """

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        self._host, self._port = self._server.get_host_and_port()
        self.endpoint = f"http://{self._host}:{self._port}"
        self.environment = {**_CREDENTIALS, "AWS_ENDPOINT_URL_S3": self.endpoint}

    def stop(self) -> None:
        """Ends it; what is in its buckets stays in this process."""
        self._server.stop()

    @contextmanager
    def outage(self, status: int | None = None) -> Iterator[None]:
        """Takes it away while the block lasts.

        Args:
            status: HTTP status that everything is answered with meanwhile; None if nobody answers.
        """
        self.stop()
        try:
            if status is None:
                yield
            else:
                with _refusing(self._host, self._port, status):
                    yield
        finally:
            self._server = ThreadedMotoServer(self._host, self._port, verbose=False)
            self._server.start()

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Has it take connections and never answer while the block lasts."""
        self.stop()
        try:
            with socket.create_server((self._host, self._port)):
                yield
        finally:
            self._server = ThreadedMotoServer(self._host, self._port, verbose=False)
            self._server.start()

    def bucket(self) -> str:
        """Makes a bucket and returns the URL of a folder in it."""
        name = f"test-{uuid.uuid4().hex}"
        with mock.patch.dict(os.environ, self.environment):
            boto3.client("s3").create_bucket(Bucket=name)
        return f"s3://{name}/blobs"


@contextmanager
def _refusing(host: str, port: int, status: int) -> Iterator[None]:
    class Refusal(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Callable[[], None]:
            if not name.startswith("do_"):
                raise AttributeError(name)
            return self._refuse  # whatever the method

        def _refuse(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer((host, port), Refusal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def s3_server() -> Iterator[S3]:
    """Runs a server while the block lasts; this process finds it in its environment, as its children do."""
    found = S3()
    try:
        with mock.patch.dict(os.environ, found.environment):
            yield found
    finally:
        found.stop()
