"""A server whose blobs are on S3: data sets go there, files of models are read there, nobody learns the key, and while S3 is
away or refuses, callers are told so."""

from __future__ import annotations

import hashlib
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import grpc
import numpy as np
import pytest

from migrations.upgrade import upgrade
from secateur.client import Client
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.files import FileSystem
from secateur.store.ledger import JobLedger
from secateur.store.uploads import PART_BYTES
from secateur.v1 import dataset_service_pb2 as datasets
from secateur.v1 import job_service_pb2 as jobs
from secateur.v1 import model_service_pb2 as models
from secateur.v1 import model_service_pb2_grpc
from tests.support.datasets import arrays, npz
from tests.support.s3 import S3
from tests.support.server import Api, make_settings, refusal, running, train
from tests.support.stack import until
from tests.support.store import redis_server

SET = npz({**arrays(400, 50, side=150), "y_train": np.arange(400) % 10, "y_test": np.arange(50) % 10})


def test_data_sets_go_to_s3_and_files_of_models_come_from_there(
    s3: S3, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = s3.bucket()
    settings = make_settings(tmp_path, blob_url=url, artifact_url_seconds=120)
    upgrade(settings.database_url)
    store, blobs = Store(settings.database_url), BlobStore(url)
    (tmp_path / "set.npz").write_bytes(SET)

    with redis_server(tmp_path), running(settings) as server, grpc.insecure_channel(server.address) as channel:
        api = Api(channel, "default")
        with Client(server.address) as client:
            dataset = client.upload_dataset("set", tmp_path / "set.npz")
            assert b"".join(blobs.read(dataset.sha256)) == SET
            job = api.create_job()
            int8 = train(store, blobs, job)
            (model,) = client.models()
            (path,) = model.download(tmp_path / "out", ["litert-int8"])
        assert path.read_bytes() == int8
        request = models.DownloadArtifactRequest(name=model.artifacts[1].name, accept_url=True)
        (header,) = model_service_pb2_grpc.ModelServiceStub(channel).DownloadArtifact(request)
        request.accept_url = False
        streamed = b"".join(part.data for part in api.models.DownloadArtifact(request))

    assert header.size_bytes == len(int8)
    assert 0 < header.expire_time.seconds - model.snapshot.create_time.timestamp() < 600  # type: ignore[union-attr]
    with urllib.request.urlopen(header.url) as response:
        assert response.read() == streamed == int8
    assert s3.environment["AWS_SECRET_ACCESS_KEY"] not in caplog.text + repr(settings) + header.url
    store.close()


@pytest.mark.parametrize("status", [None, 403])
def test_a_blob_store_that_is_away_or_refuses_is_unavailable_and_nothing_is_lost(
    s3: S3, tmp_path: Path, status: int | None
) -> None:
    url = s3.bucket()
    settings = make_settings(tmp_path, blob_url=url, artifact_url_seconds=0)
    upgrade(settings.database_url)
    store, blobs = Store(settings.database_url), BlobStore(url)
    spec = datasets.DatasetSpec(
        parent="projects/default", dataset_id="set", size_bytes=len(SET), sha256=hashlib.sha256(SET).hexdigest()
    )
    query = datasets.QueryDatasetUploadRequest(parent=spec.parent, sha256=spec.sha256)

    def upload(api: Api, offset: int, end: int | None = None) -> datasets.Dataset:
        begun = datasets.UploadDatasetRequest(spec=spec)
        begun.spec.write_offset = offset
        chunks = (
            datasets.UploadDatasetRequest(chunk=SET[at : min(at + 2**20, end or len(SET))])
            for at in range(offset, end or len(SET), 2**20)
        )
        dataset: datasets.Dataset = api.datasets.UploadDataset(iter([begun, *chunks]), timeout=60)
        return dataset

    with redis_server(tmp_path), running(settings) as server, grpc.insecure_channel(server.address) as channel:
        api = Api(channel, "default")
        job = api.create_job()
        int8 = train(store, blobs, job)
        model = api.models.ListModels(models.ListModelsRequest(parent=api.parent)).models[0]
        wanted = models.DownloadArtifactRequest(name=model.artifacts[1].name)

        def download() -> bytes:
            return b"".join(part.data for part in api.models.DownloadArtifact(wanted, timeout=60))

        assert refusal(lambda: upload(api, 0, PART_BYTES)).reason == "DATASET_TRUNCATED"
        calls: list[Callable[[], object]] = [
            download,
            lambda: upload(api, PART_BYTES),
            lambda: api.datasets.QueryDatasetUpload(query),
        ]
        with s3.outage(status):
            for call in calls:
                found = refusal(call)
                assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "BLOBS_UNAVAILABLE")
                assert s3.environment["AWS_ACCESS_KEY_ID"] not in found.message
        assert download() == int8
        assert api.datasets.QueryDatasetUpload(query).committed_size == PART_BYTES
        assert upload(api, PART_BYTES).sha256 == spec.sha256
    assert b"".join(blobs.read(spec.sha256)) == SET
    store.close()


def test_a_blob_store_that_hangs_holds_up_nothing_that_does_not_need_it(s3: S3, tmp_path: Path) -> None:
    settings = make_settings(
        tmp_path, blob_url=s3.bucket(), handler_threads=2, blob_threads=2, lease_seconds=1.0, reap_seconds=0.3
    )
    upgrade(settings.database_url)
    store = Store(settings.database_url)

    with redis_server(tmp_path), running(settings) as server, grpc.insecure_channel(server.address) as channel:
        api = Api(channel, "default")
        train(store, BlobStore(settings.blob_url), api.create_job())
        (artifact, *_) = api.models.ListModels(models.ListModelsRequest(parent=api.parent)).models[0].artifacts
        job, cancelled = api.create_job(seed=1), api.create_job(seed=2)
        with s3.silence():
            queries = [datasets.QueryDatasetUploadRequest(parent=api.parent, sha256=f"{number:064x}") for number in range(8)]
            waiting = [api.datasets.QueryDatasetUpload.future(query) for query in queries]
            download = api.models.DownloadArtifact(models.DownloadArtifactRequest(name=artifact.name))
            time.sleep(1)  # they have every thread that they can get

            def fall_silent(job: jobs.Job) -> None:
                assert JobLedger(store).claim(job.name.rpartition("/")[2], worker="falls silent", lease_seconds=1.0) is not None

            def state(job: jobs.Job) -> jobs.JobState.ValueType:
                found: jobs.Job = api.jobs.GetJob(jobs.GetJobRequest(name=job.name), timeout=60)
                return found.state

            fall_silent(cancelled)
            api.jobs.CancelJob(jobs.CancelJobRequest(name=cancelled.name))
            until(lambda: state(cancelled) == jobs.JOB_STATE_CANCELLED, "the reaper has ended it, and removes its checkpoints")
            fall_silent(job)
            until(lambda: state(job) == jobs.JOB_STATE_QUEUED, "the reaper has seen that its worker is gone")
            assert download.is_active()
            assert not any(call.done() for call in waiting)
        assert [call.result().committed_size for call in waiting] == [0] * len(waiting)
        assert len(list(download)) > 1
    store.close()


def test_a_sweep_does_not_hold_up_the_end_of_the_server(s3: S3, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, blob_url=s3.bucket())
    upgrade(settings.database_url)
    files = FileSystem(settings.blob_url)

    def put(number: int) -> None:
        files.publish(BytesIO(b"garbage"), f"quarantine/00/{number:062x}/20260101T000000.000000Z-{number:032x}")

    with ThreadPoolExecutor() as threads:
        list(threads.map(put, range(300)))
    with running(settings):
        until(lambda: len(files.sizes("quarantine")) < 300, "the sweep has begun")
    assert len(files.sizes("quarantine")) > 0
