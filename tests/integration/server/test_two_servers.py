"""Two servers, each a process of its own, that share nothing but database, Redis and blobs: whichever is asked."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from secateur.server.settings import ServerSettings
from secateur.store.uploads import PART_BYTES
from secateur.v1 import dataset_service_pb2 as datasets
from secateur.v1 import job_service_pb2 as pb
from tests.support.datasets import arrays, npz
from tests.support.postgres import ON_BOTH_DATABASES
from tests.support.server import Api, server_process
from tests.support.stack import free_port

pytestmark = ON_BOTH_DATABASES

CHUNK = 2**20


@pytest.fixture(scope="module")
def other_channel(settings: ServerSettings) -> Iterator[grpc.Channel]:
    """A server beside the one of all tests."""
    address = f"127.0.0.1:{free_port()}"
    shared = {"data_dir": settings.data_dir, "database_url": settings.database_url}
    log = (settings.data_dir / "other-server.log").open("a")
    with log, server_process(**shared, listen_address=address, stderr=log), grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(60)
        yield channel


@pytest.fixture
def servers(api: Api, other_channel: grpc.Channel) -> tuple[Api, Api]:
    """Both servers, in a project of the test's own."""
    return api, Api(other_channel, api.project)


def test_a_request_that_both_are_sent_at_once_makes_one_job(servers: tuple[Api, Api]) -> None:
    job = servers[0].job()
    requests = [pb.CreateJobRequest(parent=servers[0].parent, request_id=str(uuid.uuid4())) for _ in range(40)]
    for seed, request in enumerate(requests):
        request.job.CopyFrom(job)
        request.job.seed = seed

    with ThreadPoolExecutor(16) as threads:
        calls = [[threads.submit(server.jobs.CreateJob, request) for server in servers] for request in requests]
        names = [{call.result().name for call in pair} for pair in calls]

    assert [len(pair) for pair in names] == [1] * len(requests)
    for server in servers:
        listed = server.jobs.ListJobs(pb.ListJobsRequest(parent=server.parent, page_size=200)).jobs
        assert {each.name for each in listed} == set.union(*names)


def test_whoever_watches_at_one_hears_what_the_other_is_asked(servers: tuple[Api, Api]) -> None:
    first, second = servers
    job = first.create_job()
    events = second.watch(job)
    assert next(events).sequence == 1
    first.jobs.CancelJob(pb.CancelJobRequest(name=job.name))
    assert [(event.sequence, event.state) for event in events] == [(2, pb.JOB_STATE_CANCELLED)]


def test_an_upload_that_breaks_off_at_one_goes_on_at_the_other(servers: tuple[Api, Api]) -> None:
    first, second = servers
    data = npz(arrays(60, 9, side=400))
    digest = hashlib.sha256(data).hexdigest()

    def messages(start: int, end: int) -> Iterator[datasets.UploadDatasetRequest]:
        said = {"parent": first.parent, "dataset_id": "large", "size_bytes": len(data), "sha256": digest}
        yield datasets.UploadDatasetRequest(spec=datasets.DatasetSpec(**said, write_offset=start))  # type: ignore[arg-type]
        for place in range(start, end, CHUNK):
            yield datasets.UploadDatasetRequest(chunk=data[place : min(end, place + CHUNK)])

    with pytest.raises(grpc.RpcError):
        first.datasets.UploadDataset(messages(0, PART_BYTES))
    request = datasets.QueryDatasetUploadRequest(parent=first.parent, sha256=digest)
    assert second.datasets.QueryDatasetUpload(request).committed_size == PART_BYTES
    dataset = second.datasets.UploadDataset(messages(PART_BYTES, len(data)))
    assert first.datasets.GetDataset(datasets.GetDatasetRequest(name=dataset.name)) == dataset
