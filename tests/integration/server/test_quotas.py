"""Quotas as clients meet them."""

from __future__ import annotations

import hashlib
import queue
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from secateur.client import Client, ResourceExhausted, Target, Zoo
from secateur.server.settings import ServerSettings
from secateur.store.uploads import PART_BYTES
from secateur.v1 import architecture_service_pb2 as architectures
from secateur.v1 import dataset_service_pb2 as datasets
from tests.support.datasets import arrays, npz
from tests.support.server import Api, refusal, running
from tests.support.stack import until

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@contextmanager
def bounded(settings: ServerSettings, **quotas: int) -> Iterator[Api]:
    """Runs a server with quotas, and gives a project of the test's own."""
    chosen = settings.model_copy(update={f"quota_{name}": value for name, value in quotas.items()})
    with running(chosen) as server, grpc.insecure_channel(server.address) as channel:
        yield Api(channel, f"p-{uuid.uuid4().hex[:12]}")


def parts(api: Api, name: str, file: bytes, *, sent: int | None = None) -> Iterator[datasets.UploadDatasetRequest]:
    """Yields an upload of a file, or of its first bytes."""
    spec = datasets.DatasetSpec(
        parent=api.parent, dataset_id=name, size_bytes=len(file), sha256=hashlib.sha256(file).hexdigest()
    )
    yield datasets.UploadDatasetRequest(spec=spec)
    yield datasets.UploadDatasetRequest(chunk=file[:sent])


def test_a_full_queue_is_told_with_when_to_come_back(settings: ServerSettings) -> None:
    with bounded(settings, queued_jobs=1) as api:
        first = api.create_job(seed=1)
        found = refusal(lambda: api.create_job(seed=2))
        assert (found.code, found.reason, found.retry_seconds) == (EXHAUSTED, "QUEUED_JOBS_QUOTA", 30)
        assert api.create_job(seed=1) == first


def test_the_sdk_passes_on_when_to_come_back(settings: ServerSettings) -> None:
    chosen = settings.model_copy(update={"quota_queued_jobs": 1})
    with running(chosen) as server, Client(server.address, f"p-{uuid.uuid4().hex[:12]}") as client:
        network = Zoo("resnet20", input_shape=(8, 8, 1), classes=10)
        client.submit(network, dataset="digits", targets=Target("stm32f746", macs="20%"), seed=1)
        with pytest.raises(ResourceExhausted) as caught:
            client.submit(network, dataset="digits", targets=Target("stm32f746", macs="20%"), seed=2)
    assert caught.value.reason == "QUEUED_JOBS_QUOTA"
    assert caught.value.metadata == {"limit": "1", "retry_seconds": "30"}


def test_unfinished_uploads_take_room_and_the_one_that_goes_on_not_twice(settings: ServerSettings) -> None:
    first, second = npz(arrays(seed=1)), npz(arrays(seed=2))
    with bounded(settings, stored_bytes=len(first) + 99) as api:
        begun = refusal(lambda: api.datasets.UploadDataset(parts(api, "first", first, sent=len(first) - 10)))
        assert begun.reason == "DATASET_TRUNCATED"

        api.datasets.UploadDataset(parts(api, "first", first))
        found = refusal(lambda: api.datasets.UploadDataset(parts(api, "second", second)))

        assert (found.code, found.reason, found.fields) == (EXHAUSTED, "STORED_BYTES_QUOTA", ["spec.size_bytes"])
        assert found.retry_seconds == 3600
        api.datasets.UploadDataset(parts(api, "again", first))
        there = api.datasets.QueryDatasetUpload(
            datasets.QueryDatasetUploadRequest(parent=api.parent, sha256=hashlib.sha256(second).hexdigest())
        )
        assert there.committed_size == 0


def test_a_file_that_a_deleted_data_set_still_has_takes_no_more_room(settings: ServerSettings) -> None:
    file = npz(arrays(seed=1))
    with bounded(settings, stored_bytes=len(file) + 99) as api:
        name = api.datasets.UploadDataset(parts(api, "first", file)).name
        api.datasets.DeleteDataset(datasets.DeleteDatasetRequest(name=name))
        found = refusal(lambda: api.datasets.UploadDataset(parts(api, "second", npz(arrays(seed=2)))))
        assert (found.reason, "deleted data sets" in found.message) == ("STORED_BYTES_QUOTA", True)
        assert api.datasets.UploadDataset(parts(api, "again", file)).size_bytes == len(file)


def test_another_unfinished_upload_leaves_no_room(settings: ServerSettings) -> None:
    first, second = npz(arrays(seed=1)), npz(arrays(seed=2))
    with bounded(settings, stored_bytes=len(second) + 99) as api:
        refusal(lambda: api.datasets.UploadDataset(parts(api, "first", first, sent=100)))
        found = refusal(lambda: api.datasets.UploadDataset(parts(api, "second", second)))
        assert found.reason == "STORED_BYTES_QUOTA"


class Sending:
    """An upload that has been let in, and goes on when it is told to."""

    def __init__(self, api: Api, name: str, file: bytes) -> None:
        self._rest: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        (spec, _) = parts(api, name, file, sent=0)
        self.call = api.datasets.UploadDataset.future(self._requests(spec), timeout=120)
        assert ("x-upload", "accepted") in self.call.initial_metadata()

    def _requests(self, spec: datasets.UploadDatasetRequest) -> Iterator[datasets.UploadDatasetRequest]:
        yield spec
        while (data := self._rest.get()) is not None:
            yield from (datasets.UploadDatasetRequest(chunk=data[at : at + 2**20]) for at in range(0, len(data), 2**20))

    def send(self, data: bytes) -> None:
        self._rest.put(data)

    def end(self) -> datasets.Dataset:
        self._rest.put(None)
        dataset: datasets.Dataset = self.call.result()
        return dataset


def committed(api: Api, file: bytes) -> int:
    request = datasets.QueryDatasetUploadRequest(parent=api.parent, sha256=hashlib.sha256(file).hexdigest())
    return int(api.datasets.QueryDatasetUpload(request).committed_size)


def test_an_upload_that_has_begun_takes_the_room_of_its_whole_file_once(settings: ServerSettings) -> None:
    large, small = npz(arrays(60, 9, side=440)), npz(arrays(seed=1))
    with bounded(settings, stored_bytes=len(large) + len(small) + 99) as api:
        begun = Sending(api, "large", large)
        api.datasets.UploadDataset(parts(api, "small", small))
        begun.send(large[:PART_BYTES])
        until(lambda: committed(api, large) == PART_BYTES, "a part has been written")
        found = refusal(lambda: api.datasets.UploadDataset(parts(api, "other", npz(arrays(seed=2)))))
        assert (found.code, found.reason) == (EXHAUSTED, "STORED_BYTES_QUOTA")
        begun.send(large[PART_BYTES:])
        assert begun.end().size_bytes == len(large)


def test_what_has_been_written_of_an_upload_is_not_counted_as_on_its_way(settings: ServerSettings) -> None:
    large, small = npz(arrays(60, 9, side=440)), npz(arrays(seed=1))
    with bounded(settings, stored_bytes=len(large) + len(small) + 99) as api:
        begun = Sending(api, "large", large)
        begun.send(large[:PART_BYTES])
        until(lambda: committed(api, large) == PART_BYTES, "a part has been written")

        def fits() -> bool:
            try:
                api.datasets.UploadDataset(parts(api, "small", small))
            except grpc.RpcError:  # the server has yet to learn that it is written
                return False
            return True

        until(fits, "there is room", timeout=settings.upload_idle_seconds / 2)
        begun.call.cancel()


def test_what_two_servers_let_in_together_and_has_no_room_does_not_stay(settings: ServerSettings) -> None:
    first, second = npz(arrays(seed=1)), npz(arrays(seed=2))
    chosen = settings.model_copy(update={"quota_stored_bytes": len(first) + 99})
    with bounded(settings, stored_bytes=len(first) + 99) as api, running(chosen) as other:
        with grpc.insecure_channel(other.address) as channel:
            sending = Sending(api, "first", first), Sending(Api(channel, api.project), "second", second)
            sending[0].send(first)
            assert sending[0].end().size_bytes == len(first)
            sending[1].send(second)
            assert refusal(sending[1].end).reason == "STORED_BYTES_QUOTA"
        assert committed(api, second) == 0


def test_uploads_with_a_file_are_counted_by_the_minute(settings: ServerSettings) -> None:
    document = b"{}"
    source = architectures.KerasJsonSource(size_bytes=len(document), sha256=hashlib.sha256(document).hexdigest())
    with bounded(settings, uploads_per_minute=1) as api:
        api.datasets.UploadDataset(parts(api, "mine", npz(arrays())))
        spec = architectures.ArchitectureSpec(parent=api.parent, keras_json=source)
        requests = [
            architectures.UploadArchitectureRequest(spec=spec),
            architectures.UploadArchitectureRequest(chunk=document),
        ]
        found = refusal(lambda: api.architectures.UploadArchitecture(iter(requests)))

        assert (found.code, found.reason) == (EXHAUSTED, "UPLOAD_RATE_QUOTA")
        assert found.retry_seconds is not None
        assert 0 < found.retry_seconds <= 60
        assert api.upload_zoo().name
