"""A real S3 of the tests' own: moto's server on a port, and buckets in it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from unittest import mock

import boto3
from moto.server import ThreadedMotoServer

_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "test-key",
    "AWS_SECRET_ACCESS_KEY": "test-secret-4f1c9a",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class S3:
    """A running server.

    Args:
        endpoint: Its URL.
        environment: What a process needs in its environment to use it.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.environment = {**_CREDENTIALS, "AWS_ENDPOINT_URL_S3": endpoint}

    def bucket(self) -> str:
        """Makes a bucket and returns the URL of a folder in it."""
        name = f"test-{uuid.uuid4().hex}"
        with mock.patch.dict(os.environ, self.environment):
            boto3.client("s3").create_bucket(Bucket=name)
        return f"s3://{name}/blobs"


@contextmanager
def s3_server() -> Iterator[S3]:
    """Runs a server while the block lasts; this process finds it in its environment, as its children do."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = S3(f"http://{host}:{port}")
    try:
        with mock.patch.dict(os.environ, found.environment):
            yield found
    finally:
        server.stop()
