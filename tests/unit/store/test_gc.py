"""Garbage collection: what nobody needs goes, what somebody needs stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secateur.core.datasets import content
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.core.planning import Plan
from secateur.core.reports import ArtifactFormat, ArtifactReport
from secateur.store import Store
from secateur.store.ages import SLACK
from secateur.store.blobs import BlobStore, path_of
from secateur.store.checkpoints import CheckpointStore
from secateur.store.files import FileSystem
from secateur.store.gc import Collector
from secateur.store.ledger import JobLedger
from secateur.store.quarantine import Quarantine
from secateur.store.uploads import UploadStore
from tests.support.garbage import AGES, DAY, is_there, refer
from tests.support.s3 import S3
from tests.support.store import PROJECT, a_report, claim, create

KEY = "c" * 64
SAME_FOLDER = (0, 26, 369, 435, 557)
"""The digests of these numbers, written out, begin alike."""


@pytest.fixture(params=["sqlite file", "sqlite s3", "postgresql file"])
def kinds(request: pytest.FixtureRequest) -> list[str]:
    kinds: str = request.param
    return kinds.split()


@pytest.fixture
def database_url(kinds: list[str], request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{kinds[0].replace('postgresql', 'postgres')}_url")
    return url


@pytest.fixture
def blob_url(kinds: list[str], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if kinds[1] == "file":
        return f"file://{tmp_path}/blobs"
    s3: S3 = request.getfixturevalue("s3")
    return s3.bucket()


@pytest.fixture
def sweep(store: Store, blob_url: str) -> Callable[[timedelta], dict[str, int]]:
    """Sweeps as it were so long from now, and returns what was done: the files are as young as they are."""

    def run(later: timedelta, *, dry_run: bool = False) -> dict[str, int]:
        collector = Collector(store, blob_url, AGES, clock=lambda: datetime.now(UTC) + later)
        return {name: count for name, count in collector.sweep(dry_run=dry_run).counts().items() if count}

    return run


def test_what_nothing_refers_to_goes_after_two_graces_and_can_be_read_until_then(
    store: Store, blob_url: str, sweep: Callable[..., dict[str, int]]
) -> None:
    blobs = BlobStore(blob_url)
    kept, garbage = blobs.put(b"kept"), blobs.put(b"garbage")
    refer(store, kept)

    assert sweep(timedelta()) == {}
    assert sweep(1.1 * DAY, dry_run=True) == sweep(1.1 * DAY) == {"quarantined": 1}
    assert is_there(blobs, garbage)
    assert sweep(2 * DAY) == {}
    assert sweep(2.2 * DAY, dry_run=True) == sweep(2.2 * DAY) == {"removed": 1, "removed_bytes": len(b"garbage")}
    assert (is_there(blobs, kept), is_there(blobs, garbage)) == (True, False)
    assert sweep(9 * DAY) == {}


def test_what_is_referred_to_comes_back_from_the_quarantine(
    store: Store, blob_url: str, sweep: Callable[..., dict[str, int]]
) -> None:
    blobs = BlobStore(blob_url)
    digest = blobs.put(b"late")
    sweep(1.1 * DAY)
    refer(store, digest)
    assert is_there(blobs, digest)
    assert sweep(9 * DAY, dry_run=True) == sweep(9 * DAY) == {"returned": 1}
    assert is_there(blobs, digest)
    assert sweep(9 * DAY) == {}


def test_nothing_stays_in_the_quarantine_of_what_has_left_it(sqlite_url: str, tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path.as_uri())
    _, needed = blobs.put(b"garbage"), blobs.put(b"needed")
    with closing(Store(sqlite_url)) as store:
        for later in (1.1, 2.2):
            Collector(store, tmp_path.as_uri(), AGES, clock=lambda: datetime.now(UTC) + later * DAY).sweep()  # noqa: B023
            left = list((tmp_path / "quarantine").glob("*/*"))
            assert len(left) == (2 if later == 1.1 else 0)
            refer(store, needed)


def test_what_sweeps_move_while_it_is_read_is_read_to_its_end(
    store: Store, blob_url: str, sweep: Callable[..., dict[str, int]]
) -> None:
    blobs, data = BlobStore(blob_url), os.urandom(20 * 2**20)  # more than is read ahead
    digest = blobs.put(data)
    for late in (False, True):
        located, begun = blobs.read(digest), blobs.read(digest)
        start = next(begun)
        if late:
            refer(store, digest)
        assert sweep(1.1 * DAY) == {"returned" if late else "quarantined": 1}
        assert b"".join(located) == start + b"".join(begun) == data


def test_a_sweep_that_is_stopped_ends_before_the_next_file(store: Store, blob_url: str) -> None:
    blobs, stopping = BlobStore(blob_url), threading.Event()
    for number in SAME_FOLDER:
        blobs.put(b"%d" % number)
    CheckpointStore(blob_url, "ended").write(KEY, b"weights")
    seen = []

    def clock() -> datetime:  # asked for each blob that is moved, among others
        seen.append(datetime.now(UTC) + 2 * DAY)
        if len(seen) == 4:
            stopping.set()
        return seen[-1]

    collector = Collector(store, blob_url, AGES, clock=clock, stopping=stopping)
    stopped = collector.sweep()
    assert 0 < stopped.quarantined < 5
    assert stopped.checkpoints == 0
    stopping.clear()
    found = collector.sweep()
    assert (stopped.quarantined + found.quarantined, found.checkpoints) == (5, 1)


def test_a_sweep_that_is_to_end_takes_nothing_of_any_kind(sqlite_url: str, tmp_path: Path) -> None:
    blobs = BlobStore(f"file://{tmp_path}/removed")
    digest = blobs.put(b"garbage")
    Quarantine(FileSystem(f"file://{tmp_path}/removed")).take(digest, path_of(digest), datetime.now(UTC))
    CheckpointStore(f"file://{tmp_path}/checkpoints", "ended").write(KEY, b"weights")
    CheckpointStore(f"file://{tmp_path}/trainings", "ended").write(KEY, b"weights", shared=True)
    with closing(UploadStore(f"file://{tmp_path}/uploads").writer("p", KEY, 0)) as writer:
        writer.write(b"data")
    stopping = threading.Event()
    with closing(Store(sqlite_url)) as store:
        for kind in ("removed", "checkpoints", "trainings", "uploads"):
            url = f"file://{tmp_path}/{kind}"
            collector = Collector(store, url, AGES, clock=lambda: datetime.now(UTC) + 40 * DAY, stopping=stopping)
            stopping.set()
            assert not any(collector.sweep().counts().values())
            stopping.clear()
            assert collector.sweep().counts()[kind] == 1


def test_what_was_quarantined_and_is_put_again_is_written_again(
    store: Store, blob_url: str, sweep: Callable[..., dict[str, int]]
) -> None:
    blobs = BlobStore(blob_url)
    digest = blobs.put(b"again")
    sweep(1.1 * DAY)
    assert blobs.put(b"again") == digest
    assert sweep(2.2 * DAY) == {"quarantined": 1, "removed": 1, "removed_bytes": len(b"again")}
    assert is_there(blobs, digest)


def test_files_of_models_data_sets_and_those_that_running_jobs_name_are_needed(
    store: Store, graph: LayerGraph, chosen_plan: Plan, blob_url: str, sweep: Callable[..., dict[str, int]]
) -> None:
    blobs = BlobStore(blob_url)
    named, float32, int8, orphan = (blobs.put(data) for data in (b"named", b"float32", b"int8", b"orphan"))
    done = create(store, graph)
    files = (
        ArtifactReport(ArtifactFormat.LITERT_FLOAT32, float32, 7, 0.9, 10),
        ArtifactReport(ArtifactFormat.LITERT_INT8, int8, 4, 0.9, 10),
    )
    JobLedger(store).settle_target(claim(store, done), replace(a_report(graph, chosen_plan), artifacts=files))
    job = create(store, graph, seed=1, dataset=content(named))
    held = claim(store, job)

    assert sweep(1.1 * DAY) == {"quarantined": 1}
    assert [is_there(blobs, digest) for digest in (named, float32, int8, orphan)] == [True] * 4
    JobLedger(store).finish(held, JobState.FAILED)
    assert sweep(2.2 * DAY)["quarantined"] == 1
    assert sweep(4 * DAY)["removed"] == 1
    assert [is_there(blobs, digest) for digest in (named, float32, int8, orphan)] == [False, True, True, False]


def test_checkpoints_go_with_their_job_trainings_and_uploads_with_their_age(
    store: Store, graph: LayerGraph, blob_url: str, sweep: Callable[..., dict[str, int]]
) -> None:
    running, ended = create(store, graph), create(store, graph, seed=1)
    claim(store, running)
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, ended.id)
        work.commit()
    for job in (running.id, ended.id, "purged"):
        CheckpointStore(blob_url, job).write(KEY, b"weights")
    CheckpointStore(blob_url, running.id).write("d" * 64, b"shared", shared=True)
    with closing(UploadStore(blob_url).writer("p", KEY, 0)) as writer:
        writer.write(b"data")

    assert sweep(timedelta()) == {}
    assert sweep(1.1 * DAY, dry_run=True) == sweep(1.1 * DAY) == {"checkpoints": 2}
    assert [CheckpointStore(blob_url, job).read(KEY) for job in (running.id, ended.id, "purged")] == [b"weights", None, None]
    assert sweep(7.1 * DAY, dry_run=True) == sweep(7.1 * DAY) == {"uploads": 1}
    assert CheckpointStore(blob_url, running.id).read("d" * 64) == b"shared"
    assert sweep(30.1 * DAY, dry_run=True) == sweep(30.1 * DAY) == {"trainings": 1}
    assert CheckpointStore(blob_url, running.id).read("d" * 64) is None


STRAYS = [
    f"{folder}{name}"
    for folder in ("", "ab/", f"ab/{'c' * 62}/", f"{'d' * 64}/")
    for name in (".DS_Store", ".nfs00000001", f".{'e' * 64}.Xy12ab", "copy-of-a-file")
]


def test_what_is_not_ours_stays_and_keeps_nothing_from_going(sqlite_url: str, tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path.as_uri())
    digest = blobs.put(b"garbage")
    CheckpointStore(tmp_path.as_uri(), "ended").write(KEY, b"weights")
    CheckpointStore(tmp_path.as_uri(), "ended").write(KEY, b"weights", shared=True)
    (tmp_path / "incoming" / ("a" * 32)).touch()
    folders = ("sha256", "quarantine", "checkpoints", "trainings", "incoming", "uploads")
    strays = [tmp_path / folder / stray for folder in folders for stray in STRAYS]
    half_copied = tmp_path / "quarantine" / digest[:2] / digest[2:] / ".20260101T000000.000000Z.Xy12ab"
    for stray in (*strays, half_copied):
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.write_text("not ours")

    found = []
    with closing(Store(sqlite_url)) as store:
        for later in (0.9, 40, 41.5):
            collector = Collector(store, tmp_path.as_uri(), AGES, clock=lambda: datetime.now(UTC) + later * DAY)  # noqa: B023
            planned, swept = collector.sweep(dry_run=True), collector.sweep()
            assert planned == swept
            found.append({name: count for name, count in swept.counts().items() if count})
            assert is_there(blobs, digest) == (later < 41)
    assert found == [
        {},
        {"quarantined": 1, "checkpoints": 1, "trainings": 1, "unfinished": 1},
        {"removed": 1, "removed_bytes": len(b"garbage")},
    ]
    assert all(stray.exists() for stray in (*strays, half_copied))


def test_the_operators_command_counts_and_sweeps(sqlite_url: str, tmp_path: Path) -> None:
    blobs = BlobStore(f"file://{tmp_path}/blobs")
    file = tmp_path / "blobs" / path_of(blobs.put(b"garbage"))
    os.utime(file, (0, 0))
    environment = {
        **os.environ,
        "SECATEUR_DATABASE_URL": sqlite_url,
        "SECATEUR_BLOB_URL": f"file://{tmp_path}/blobs",
        "SECATEUR_DATA_DIR": str(tmp_path),
    }
    for arguments, there in ((["--dry-run"], True), ([], False)):
        command = [sys.executable, "-c", "from secateur.server.sweep import main; main()", *arguments]
        done = subprocess.run(command, env=environment, check=True, capture_output=True)
        assert json.loads(done.stdout)["quarantined"] == 1
        assert file.exists() is there


def test_a_grace_that_would_break_the_promise_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 2:00:00"):
        Collector(store, f"file://{tmp_path}", replace(AGES, grace=1.9 * SLACK))
