"""Deleting and undeleting over the API, by SDK and command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import grpc
import numpy as np
import pytest
from typer.testing import CliRunner

from secateur.client import AlreadyExists, Client, FailedPrecondition, NotFound
from secateur.client.cli import app
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.v1 import dataset_service_pb2 as datasets
from secateur.v1 import job_service_pb2 as jobs
from secateur.v1 import model_service_pb2 as models
from tests.support.datasets import arrays, npz
from tests.support.losing import losing
from tests.support.server import Api, refusal, running, train

T = TypeVar("T")
FITTING = npz({**arrays(400, 50), "y_train": np.arange(400) % 10, "y_test": np.arange(50) % 10})


def trained(api: Api, store: Store, blobs: BlobStore) -> tuple[jobs.Job, models.Model]:
    """Has a job done, and returns it with its model."""
    job = api.create_job()
    train(store, blobs, job)
    (model,) = api.models.ListModels(models.ListModelsRequest(parent=api.parent)).models
    return job, model


def test_a_deleted_job_is_out_of_sight_and_its_model_stays(api: Api, store: Store, blobs: BlobStore) -> None:
    job = api.create_job()
    early = refusal(lambda: api.jobs.DeleteJob(jobs.DeleteJobRequest(name=job.name)))
    assert (early.code, early.reason, early.fields) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_FINISHED", ["name"])
    train(store, blobs, job)

    deleted = api.jobs.DeleteJob(jobs.DeleteJobRequest(name=job.name))

    assert deleted.name == job.name
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == pytest.approx(30 * 24 * 3600, abs=1)
    assert api.jobs.GetJob(jobs.GetJobRequest(name=job.name)).delete_time == deleted.delete_time
    assert list(api.jobs.ListJobs(jobs.ListJobsRequest(parent=api.parent)).jobs) == []
    (shown,) = api.jobs.ListJobs(jobs.ListJobsRequest(parent=api.parent, show_deleted=True)).jobs
    assert shown.purge_time == deleted.purge_time
    assert len(api.models.ListModels(models.ListModelsRequest(parent=api.parent)).models) == 1
    again = api.create_job()
    assert again.name != job.name
    back = api.jobs.UndeleteJob(jobs.UndeleteJobRequest(name=job.name))
    assert not back.HasField("delete_time")
    assert len(api.jobs.ListJobs(jobs.ListJobsRequest(parent=api.parent)).jobs) == 2


def test_a_deleted_job_is_not_retried(api: Api) -> None:
    job = api.create_job()
    api.jobs.CancelJob(jobs.CancelJobRequest(name=job.name))
    api.jobs.DeleteJob(jobs.DeleteJobRequest(name=job.name))
    refused = refusal(lambda: api.jobs.RetryJob(jobs.RetryJobRequest(name=job.name)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_DELETED")


def test_a_deleted_job_is_shown_as_deleted_whoever_asks_for_it(api: Api) -> None:
    job = api.create_job()
    api.jobs.CancelJob(jobs.CancelJobRequest(name=job.name))
    deleted = api.jobs.DeleteJob(jobs.DeleteJobRequest(name=job.name))
    assert deleted.HasField("delete_time")
    for shown in (
        api.jobs.GetJob(jobs.GetJobRequest(name=job.name)),
        api.jobs.CancelJob(jobs.CancelJobRequest(name=job.name)),
        api.jobs.WaitJob(jobs.WaitJobRequest(name=job.name)),
    ):
        assert (shown.delete_time, shown.purge_time) == (deleted.delete_time, deleted.purge_time)


def test_no_device_gets_a_deleted_model(api: Api, store: Store, blobs: BlobStore) -> None:
    job, model = trained(api, store, blobs)
    resolve = models.ResolveModelRequest(
        architecture=job.architecture, dataset=job.dataset, device_profile="deviceProfiles/stm32f746"
    )
    download = models.DownloadArtifactRequest(name=model.artifacts[0].name)

    api.models.DeleteModel(models.DeleteModelRequest(name=model.name))

    assert refusal(lambda: api.models.ResolveModel(resolve)).reason == "FAMILY_EMPTY"
    assert refusal(lambda: list(api.models.DownloadArtifact(download))).reason == "MODEL_DELETED"
    assert api.models.GetModel(models.GetModelRequest(name=model.name)).HasField("delete_time")
    assert list(api.models.ListModels(models.ListModelsRequest(parent=api.parent)).models) == []
    api.models.UndeleteModel(models.UndeleteModelRequest(name=model.name))
    assert api.models.ResolveModel(resolve).model.name == model.name
    assert len(list(api.models.DownloadArtifact(download))) > 1


@pytest.mark.parametrize("verb", ["Delete", "Undelete"])
def test_what_is_not_there_is_not_found_and_that_may_be_allowed(api: Api, verb: str) -> None:
    nobody = "0" * 8
    stubs = {
        "Job": (api.jobs, jobs, "jobs"),
        "Model": (api.models, models, "models"),
        "Dataset": (api.datasets, datasets, "datasets"),
    }
    for kind, (stub, pb, collection) in stubs.items():
        name = f"{api.parent}/{collection}/{nobody}"
        call, message = getattr(stub, f"{verb}{kind}"), getattr(pb, f"{verb}{kind}Request")
        found = refusal(lambda call=call, message=message, name=name: call(message(name=name)))  # type: ignore[misc]
        assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, f"{kind.upper()}_NOT_FOUND")
        if verb == "Delete":
            assert call(message(name=name, allow_missing=True)) == getattr(pb, kind)()
    built_in = getattr(api.datasets, f"{verb}Dataset")
    request = getattr(datasets, f"{verb}DatasetRequest")(name="datasets/digits")
    assert refusal(lambda: built_in(request)).reason == "DATASET_BUILT_IN"


def test_models_outlive_their_data_set(
    api: Api, settings: ServerSettings, store: Store, blobs: BlobStore, tmp_path: Path
) -> None:
    (tmp_path / "mine.npz").write_bytes(FITTING)
    with running(settings) as server, Client(server.address, api.project) as client:
        dataset = client.upload_dataset("mine", tmp_path / "mine.npz")
        job = api.create_job(dataset=dataset.name)
        with pytest.raises(FailedPrecondition) as caught:
            client.delete_dataset("mine")
        assert caught.value.reason == "DATASET_IN_USE"
        train(store, blobs, job)
        client.delete_dataset("mine")
        with pytest.raises(NotFound):
            client.delete_dataset("mine")
        client.delete_dataset("mine", allow_missing=True)

        assert "mine" not in {found.name.rpartition("/")[2] for found in client.datasets()}
        shown = next(found for found in client.datasets(show_deleted=True) if found.name == dataset.name)
        assert shown.purge_time is not None
        assert refusal(lambda: api.create_job(dataset=dataset.name, seed=1)).reason == "DATASET_NOT_FOUND"
        assert client.resolve(job.architecture, "mine", "stm32f746").model.name
        with store.unit_of_work() as work:
            work.trash.purge(shown.purge_time)
            work.commit()
        assert client.resolve(job.architecture, dataset.name, "stm32f746").model.name
        with pytest.raises(NotFound):
            client.undelete_dataset(dataset.name)


def test_what_is_done_whose_answer_was_lost_is_no_error(
    api: Api, settings: ServerSettings, store: Store, blobs: BlobStore, tmp_path: Path
) -> None:
    (tmp_path / "mine.npz").write_bytes(FITTING)
    job, model = trained(api, store, blobs)
    with running(settings) as server, losing(server.address) as way, Client(way.address, api.project) as client:
        dataset = client.upload_dataset("mine", tmp_path / "mine.npz")
        profile = client.add_device_profile("mine", clock="100MHz", flash="64KiB", ram="256KiB", macs_per_second="1M")

        def lost(call: Callable[[str], T], name: str) -> T:
            way.lose_next()
            done = call(name)
            assert way.has_lost
            return done

        lost(client.delete_device_profile, profile.name)
        lost(client.delete_job, job.name)
        lost(client.delete_model, model.name)
        lost(client.delete_dataset, dataset.name)
        for call, name in (
            (client.delete_device_profile, profile.name),
            (client.delete_job, job.name),
            (client.delete_model, model.name),
        ):
            with pytest.raises(NotFound):
                call(name)
        assert lost(client.undelete_job, job.name).name == job.name
        assert lost(client.undelete_model, model.name).name == model.name
        assert lost(client.undelete_dataset, dataset.name) == client.dataset("mine")
        with pytest.raises(AlreadyExists):
            client.undelete_job(job.name)


def test_the_command_line_deletes_lists_and_undeletes(
    api: Api, settings: ServerSettings, store: Store, blobs: BlobStore, tmp_path: Path
) -> None:
    (tmp_path / "mine.npz").write_bytes(FITTING)
    job, model = trained(api, store, blobs)

    with running(settings) as server, Client(server.address, api.project) as client:
        dataset = client.upload_dataset("mine", tmp_path / "mine.npz")

        def cli(*arguments: str, exit_code: int = 0) -> str:
            done = CliRunner().invoke(app, ["--address", server.address, "--project", api.project, *arguments])
            assert done.exit_code == exit_code, done.output
            return "\n".join(line for line in done.stdout.splitlines() if " [info " not in line)  # the server logs there too

        def own(kind: str, *options: str) -> dict[str, str]:
            """Lists what the project has, with the time at which it is purged; data sets that are built in aside."""
            found = json.loads(cli(kind, "list", *options, "--json"))
            return {shown["name"]: shown["purge_time"] for shown in found if shown["name"].startswith("projects/")}

        for kind, name in (("jobs", job.name), ("models", model.name), ("datasets", dataset.name)):
            assert json.loads(cli(kind, "delete", name, "--json")) == {"deleted": name}
            cli(kind, "delete", name, exit_code=1)
            cli(kind, "delete", name, "--allow-missing")
            assert own(kind) == {}
            deleted = own(kind, "--deleted")
            assert list(deleted) == [name]
            assert deleted[name]
            assert name.rpartition("/")[2][:8] in cli(kind, "undelete", name)
            assert own(kind) == {name: None}
        with pytest.raises(AlreadyExists):
            client.undelete_job(job.name)
