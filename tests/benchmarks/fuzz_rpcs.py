"""Fuzzes every RPC of a real server from its descriptor; anything but an answer or a proper refusal is a failure.

    python -m tests.benchmarks.fuzz_rpcs --messages 1000000 [--seed 0] [--database-url postgresql://...]

Prints what came out; the status is 1 if anything failed. The tests run a short form: tests/integration/server/test_fuzz.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import grpc
import psutil

from migrations.upgrade import upgrade
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.v1 import model_service_pb2
from tests.support.fuzz import texts_of
from tests.support.fuzz_run import Report, fuzz
from tests.support.server import Api, train
from tests.support.stack import Stack

MOST_HANDLES: Final = 16
"""File handles that a warm server may still open: of connections to the database, up to one per thread."""
MOST_BYTES: Final = 48 * 2**20
"""Bytes that a warm server may still grow by, whatever the number of messages; jobs that are made are rows, not memory."""


def run(folder: Path, *, messages: int, seed: int) -> Report:
    """Starts a server with a little of everything in its database, fuzzes it and stops it."""
    stack = Stack(folder, log_level="WARNING")
    try:
        upgrade(stack.settings.database_url)
        stack.start("redis", "server")
        stack.wait_for_server()
        texts = _furnish(stack)
        server = psutil.Process(stack.pid("server"))
        report = asyncio.run(fuzz(stack.address, server, messages=messages, seed=seed, texts=texts))
        stack.wait_for_server()  # it still answers
        return report
    finally:
        stack.down()


def _furnish(stack: Stack) -> list[str]:
    """Makes an architecture, jobs and a model, and returns every text that the server says of them."""
    store = Store(stack.settings.database_url)
    said: list[Any] = []
    with grpc.insecure_channel(stack.address) as channel:
        api = Api(channel, "default")
        architecture = api.upload_zoo()
        done, waiting = (api.create_job(architecture=architecture.name, seed=seed) for seed in (0, 1))
        train(store, BlobStore(stack.settings.blob_url), done, flash_bytes=2_000)
        page = api.models.ListModels(model_service_pb2.ListModelsRequest(parent=api.parent, page_size=1))
        said += [architecture, done, waiting, page]
    store.close()
    return sorted({text for message in said for text in texts_of(message)} | {api.parent})


def main() -> int:
    """Fuzzes and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), messages=options.messages, seed=options.seed)
    seconds = time.monotonic() - started
    print(json.dumps({name: dict(counter.most_common()) for name, counter in report.outcomes.items()}, indent=2))
    print(f"{report.messages:,} messages in {seconds:.0f} s; the warm server grew by {report.grown_bytes / 2**20:.1f} MiB and")
    print(f"{report.grown_handles} file handles; {len(report.failures)} failures")
    print(*report.failures[:20], sep="\n")
    return int(bool(report.failures) or report.grown_bytes > MOST_BYTES or report.grown_handles > MOST_HANDLES)


if __name__ == "__main__":
    sys.exit(main())
