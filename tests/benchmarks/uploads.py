"""A thousand small data sets uploaded at once to a server of its own: how long that takes, and what it takes of the server.

`python -m tests.benchmarks.uploads [--uploads N]` prints a line, writes docs/results/uploads.json and
fails if an upload does, or if memory or files grow with their number.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc.aio
import psutil

from migrations.upgrade import upgrade
from secateur.v1 import dataset_service_pb2 as pb
from secateur.v1 import dataset_service_pb2_grpc
from tests.support.datasets import arrays, npz
from tests.support.stack import Stack

MAX_GROWTH_BYTES = 300 * 2**20
"""What the server's memory may grow by: the uploads that it takes in at once, twice over."""
MAX_OPEN_FILES = 200
PROJECTS = 20
RESULTS = Path(__file__).parents[2] / "docs/results/uploads.json"


class Watch(threading.Thread):
    """Looks at the memory and the open files of a process until it is told to stop."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._stop_asked = threading.Event()
        self.resident: list[int] = []
        self.files: list[int] = []

    def run(self) -> None:
        while not self._stop_asked.wait(0.05):
            self.resident.append(self._process.memory_info().rss)
            self.files.append(self._process.num_fds())

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()


async def send_all(address: str, uploads: int) -> float:
    """Uploads so many data sets, all at once, and returns the seconds that it took."""
    data = npz(arrays(60, 9))
    digest = hashlib.sha256(data).hexdigest()
    async with grpc.aio.insecure_channel(address) as channel:
        stub = dataset_service_pb2_grpc.DatasetServiceStub(channel)

        async def send(number: int) -> None:
            spec = pb.DatasetSpec(
                parent=f"projects/p-{number % PROJECTS}", dataset_id=f"set-{number}", size_bytes=len(data), sha256=digest
            )
            call = stub.UploadDataset(timeout=600)
            await call.write(pb.UploadDatasetRequest(spec=spec))
            await call.initial_metadata()  # its turn has come
            await call.write(pb.UploadDatasetRequest(chunk=data))
            await call.done_writing()
            assert (await call).sha256 == digest

        started = time.perf_counter()
        await asyncio.gather(*map(send, range(uploads)))
        return time.perf_counter() - started


def main() -> None:
    """Measures, prints and checks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=1_000)
    uploads: int = parser.parse_args().uploads
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        upgrade(stack.settings.database_url)
        try:
            stack.start("redis", "server")
            stack.wait_for_server()
            asyncio.run(send_all(stack.address, 8))
            watch = Watch(psutil.Process(stack.pid("server")))
            watch.start()
            seconds = asyncio.run(send_all(stack.address, uploads))
            watch.stop()
        finally:
            stack.down()
    growth, files = max(watch.resident) - watch.resident[0], max(watch.files)
    print(f"{uploads} uploads in {seconds:.1f} s; memory +{growth / 2**20:.0f} MiB, at most {files} open files")
    figures = {
        "command": " ".join(["python -m tests.benchmarks.uploads", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {psutil.cpu_count()} cores",
        "uploads": uploads,
        "seconds": round(seconds, 1),
        "grown_mib": round(growth / 2**20),
        "most_open_files": files,
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    assert growth < MAX_GROWTH_BYTES
    assert files < MAX_OPEN_FILES


if __name__ == "__main__":
    main()
