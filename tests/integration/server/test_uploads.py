"""Uploads that go wrong: a server and a client that are killed in the middle, bytes that are not what was announced, stalls,
and many at once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
import psutil
import pytest

from migrations.upgrade import upgrade
from secateur.client import Client, Retry
from secateur.store.uploads import PART_BYTES
from secateur.v1 import dataset_service_pb2 as pb
from tests.support.datasets import arrays, npz
from tests.support.server import PATIENCE_S, Api, make_settings, refusal, running
from tests.support.stack import Stack, until
from tests.support.store import redis_server

LARGE = npz(arrays(60, 9, side=440))
"""Two parts and a bit."""
DIGEST = hashlib.sha256(LARGE).hexdigest()
CHUNK = 2**20
CLIENT = """
import sys
from secateur.client import Client

def told(sent, size):
    print(sent, flush=True)
    if sent > int(sys.argv[3]):
        sys.stdin.read()  # until it is killed

Client(sys.argv[1]).upload_dataset("large", sys.argv[2], on_progress=told)
"""


def spec(data: bytes = LARGE, dataset_id: str = "large", **facts: object) -> pb.UploadDatasetRequest:
    said = {"parent": "projects/default", "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **facts}
    return pb.UploadDatasetRequest(spec=pb.DatasetSpec(dataset_id=dataset_id, **said))  # type: ignore[arg-type]


def chunks(data: bytes) -> Iterator[pb.UploadDatasetRequest]:
    for start in range(0, len(data), CHUNK):
        yield pb.UploadDatasetRequest(chunk=data[start : start + CHUNK])


def committed(channel: grpc.Channel, digest: str = DIGEST) -> int:
    request = pb.QueryDatasetUploadRequest(parent="projects/default", sha256=digest)
    return int(Api(channel, "default").datasets.QueryDatasetUpload(request).committed_size)


def test_an_upload_goes_on_after_client_and_server_were_killed(tmp_path: Path) -> None:
    """The client is killed, then the server; another client goes on, and does not notice that the server is killed again."""
    (tmp_path / "large.npz").write_bytes(LARGE)
    stack = Stack(tmp_path)
    upgrade(stack.settings.database_url)
    command = [sys.executable, "-c", CLIENT, stack.address, str(tmp_path / "large.npz"), str(PART_BYTES + CHUNK)]
    parts = tmp_path / "blobs" / "uploads" / "default" / DIGEST
    told: list[int] = []

    def ends() -> list[int]:
        return sorted(int(part.name.split("-")[1]) for part in parts.glob("*"))

    def kill_again(sent: int, size: int) -> None:
        told.append(sent)
        if sent > 2 * PART_BYTES and len(told) == len([one for one in told if one <= 2 * PART_BYTES]) + 1:
            until(lambda: ends() == [PART_BYTES, 2 * PART_BYTES], "another part has been written")
            stack.kill("server")
            stack.start("server")

    try:
        stack.start("redis", "server")
        stack.wait_for_server()
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=stack.env)
        until(lambda: ends() == [PART_BYTES], "a part has been written")
        stack.kill("server")
        client.kill()
        client.communicate()
        stack.start("server")
        with Client(stack.address, retry=Retry(first_contact=60)) as other:
            dataset = other.upload_dataset("large", tmp_path / "large.npz", on_progress=kill_again)
    finally:
        stack.down()
    assert told[0] == PART_BYTES
    assert told.count(2 * PART_BYTES) == 2  # sent, and gone on from
    assert (dataset.sha256, dataset.train_images) == (DIGEST, 60)


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[grpc.Channel]:
    """A server that takes in four uploads at once, two of one project, by its channel; the parameter is how long it waits."""
    settings = make_settings(tmp_path, uploads_at_once=4, upload_idle_seconds=getattr(request, "param", 60.0))
    upgrade(settings.database_url)
    with redis_server(tmp_path), running(settings) as server, grpc.insecure_channel(server.address) as channel:
        yield channel


def test_what_is_not_as_announced_is_refused_and_can_be_sent_again(server: grpc.Channel, tmp_path: Path) -> None:
    api = Api(server, "default")
    send = api.datasets.UploadDataset
    wrong = LARGE[:-1] + bytes([LARGE[-1] ^ 1])
    bad = {
        "DATASET_DIGEST_MISMATCH": [spec(), *chunks(wrong)],
        "DATASET_TRUNCATED": [spec(), *chunks(LARGE[:-1])],
        "DATASET_MALFORMED": [spec(), *chunks(LARGE + b"!")],
        "WRITE_OFFSET_INVALID": [spec(LARGE + b"other", write_offset=5), *chunks(LARGE)],
    }
    for reason, messages in bad.items():
        assert refusal(partial(send, iter(messages))).reason == reason
    swapped = list(chunks(LARGE))
    swapped[0], swapped[1] = swapped[1], swapped[0]
    api.datasets.UploadDataset(iter([spec(), *chunks(LARGE)]))  # over what was left of them
    found = refusal(partial(send, iter([spec(LARGE, "other", sha256="0" * 64), *swapped])))
    assert found.reason == "DATASET_DIGEST_MISMATCH"
    assert committed(server, "0" * 64) == 0


@pytest.mark.parametrize("server", [1.0], indirect=True)
def test_an_upload_that_sends_nothing_ends_and_makes_room_for_others(server: grpc.Channel) -> None:
    api, over = Api(server, "default"), threading.Event()

    def stalling(number: int) -> Iterator[pb.UploadDatasetRequest]:
        yield spec(LARGE, f"stalled-{number}", sha256=f"{number:064x}")
        yield from chunks(LARGE[: PART_BYTES + CHUNK])
        over.wait(PATIENCE_S)

    stalled = [api.datasets.UploadDataset.future(stalling(number)) for number in range(2)]
    until(lambda: all(committed(server, f"{number:064x}") for number in range(2)), "both have begun")
    small = npz(arrays(60, 9))
    dataset = api.datasets.UploadDataset(iter([spec(small, "small"), *chunks(small)]), timeout=60)
    assert dataset.train_images == 60
    for call in stalled:
        found = refusal(call.result)
        assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "UPLOAD_STALLED")
    over.set()
    assert committed(server, "0" * 64) == PART_BYTES


def test_slow_uploads_of_one_project_leave_room_for_others(server: grpc.Channel) -> None:
    stop = threading.Event()

    def dripping(number: int) -> Iterator[pb.UploadDatasetRequest]:
        yield spec(LARGE, f"slow-{number}", sha256=f"{number:064x}", parent="projects/slow")
        while not stop.wait(0.1):
            yield pb.UploadDatasetRequest(chunk=b"x")

    slow = [Api(server, "slow").datasets.UploadDataset.future(dripping(number)) for number in range(6)]
    time.sleep(1)  # as many as can have begun
    small = npz(arrays(60, 9))
    dataset = Api(server, "default").datasets.UploadDataset(iter([spec(small, "small"), *chunks(small)]), timeout=60)
    assert dataset.train_images == 60
    stop.set()
    assert {refusal(call.result).reason for call in slow} == {"DATASET_TRUNCATED"}


def test_many_uploads_at_once_take_turns(server: grpc.Channel) -> None:
    """The full size of this is `python -m tests.benchmarks.uploads`."""
    api, process = Api(server, "default"), psutil.Process()
    sets = [npz(arrays(60, 9, side=8 + number)) for number in range(8)]

    def send(number: int) -> str:
        data = sets[number % len(sets)]
        answer: pb.Dataset = api.datasets.UploadDataset(iter([spec(data, f"set-{number}"), *chunks(data)]), timeout=60)
        return answer.sha256

    open_files = []
    for start in (0, 40):
        with ThreadPoolExecutor(40) as pool:
            found = list(pool.map(send, range(start, start + 40)))
        assert found == [hashlib.sha256(sets[number % len(sets)]).hexdigest() for number in range(start, start + 40)]
        open_files.append(process.num_fds())
    assert open_files[1] <= open_files[0] + 3  # no upload keeps a file open
