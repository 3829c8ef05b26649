"""Deleting: out of sight at once, undone until the purge, and gone for good after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from secateur.core.datasets import DATASETS, DatasetName, content
from secateur.core.errors import AlreadyExists, FailedPrecondition, NotFound, SecateurError
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.core.planning import Plan
from secateur.core.reports import ARENA_BYTES
from secateur.server.jobs.handlers import RetryJob, retry_job
from secateur.server.sweeper import Sweeper
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.families import Family
from secateur.store.ledger import JobLedger
from secateur.store.records import Deletion, JobRecord
from secateur.store.settings import Settings
from secateur.store.tables import Base, Deletable
from secateur.store.trash import PURGE_BATCH
from tests.support.store import PROJECT, Clock, a_report, a_spec, claim, create, read

DIGEST = "e" * 64
WEEK = timedelta(days=7)
MINE = replace(DATASETS["digits"], name="mine")


def delete(store: Store, kind: Deletable, identifier: str, *, project: str = PROJECT, allow_missing: bool = False) -> bool:
    with store.unit_of_work() as work:
        there = work.trash.delete(kind, project, identifier, keep=WEEK, allow_missing=allow_missing)
        work.commit()
    return there


def undelete(store: Store, kind: Deletable, identifier: str) -> None:
    with store.unit_of_work() as work:
        work.trash.undelete(kind, PROJECT, identifier)
        work.commit()


def purge(store: Store, clock: Clock) -> int:
    with store.unit_of_work() as work:
        purged = work.trash.purge(clock.now)
        work.commit()
    return purged


def upload(store: Store, digest: str = DIGEST) -> None:
    with store.unit_of_work() as work:
        work.datasets.put(PROJECT, MINE, digest=digest, size_bytes=1)
        work.commit()


def finished(store: Store, graph: LayerGraph, chosen_plan: Plan, **asked: object) -> tuple[JobRecord, str]:
    """Returns a job that succeeded, and the id of its model."""
    job = create(store, graph, **asked)  # type: ignore[arg-type]
    ledger, held = JobLedger(store), claim(store, job)
    model = ledger.settle_target(held, a_report(graph, chosen_plan))
    ledger.finish(held, JobState.SUCCEEDED)
    assert model is not None
    return job, model


def listed(store: Store, *, show_deleted: bool = False) -> tuple[list[str], list[str], list[str]]:
    """Returns the ids of the jobs, models and data sets that lists show."""
    with store.snapshot() as work:
        jobs = work.jobs.list(PROJECT, show_deleted=show_deleted).items
        models = work.models.list(PROJECT, show_deleted=show_deleted).items
        datasets = work.datasets.list(PROJECT, after="", limit=9, show_deleted=show_deleted)
        return [job.id for job in jobs], [model.id for model in models], [dataset.id for dataset in datasets]


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(SecateurError) as caught:
        call()
    return caught.value.reason


def test_what_is_deleted_is_shown_on_demand_and_comes_back(
    store: Store, graph: LayerGraph, chosen_plan: Plan, clock: Clock
) -> None:
    job, model = finished(store, graph, chosen_plan)
    upload(store)
    things = [(Deletable.JOB, job.id), (Deletable.MODEL, model), (Deletable.DATASET, "mine")]
    everything = ([job.id], [model], ["mine"])

    for kind, identifier in things:
        assert refused(lambda kind=kind, identifier=identifier: undelete(store, kind, identifier)) == f"{kind.name}_NOT_DELETED"  # type: ignore[misc]
        assert delete(store, kind, identifier)
        assert refused(lambda kind=kind, identifier=identifier: delete(store, kind, identifier)) == f"{kind.name}_NOT_FOUND"  # type: ignore[misc]
        assert delete(store, kind, identifier, allow_missing=True)
    assert listed(store) == ([], [], [])
    assert listed(store, show_deleted=True) == everything
    with store.snapshot() as work:
        marked = work.trash.mark(work.jobs.get(PROJECT, job.id)).deletion
        family = Family.of(PROJECT, graph.digest, DatasetName("digits"))
        assert work.families.offers(family, ram_measurement=ARENA_BYTES) == ()
        assert work.families.versions([family])[family] == 2  # servers that keep the family in memory notice
    assert marked is not None
    assert (marked.delete_time, marked.purge_time) == (clock.now, clock.now + WEEK)

    for kind, identifier in things:
        undelete(store, kind, identifier)
    assert listed(store) == everything
    with store.snapshot() as work:
        assert len(work.families.offers(family, ram_measurement=ARENA_BYTES)) == 1
        assert work.families.versions([family])[family] == 3  # and that it is whole again


def test_a_mark_is_on_one_kind_of_thing_in_one_project(store: Store, graph: LayerGraph) -> None:
    job = create(store, graph)
    with store.unit_of_work() as work:
        for project in (PROJECT, "other"):
            work.datasets.put(project, replace(MINE, name=job.id), digest=DIGEST, size_bytes=1)
        work.commit()
    assert delete(store, Deletable.DATASET, job.id)
    assert listed(store) == ([job.id], [], [])
    with store.snapshot() as work:
        (other,) = work.datasets.list("other", after="", limit=9, show_deleted=False)
        assert work.trash.mark(other).deletion is work.trash.mark(read(store, job)).deletion is None


def test_a_purge_takes_everything_of_a_job_but_its_models(
    store: Store, graph: LayerGraph, chosen_plan: Plan, clock: Clock
) -> None:
    (job, model), (other, other_model) = finished(store, graph, chosen_plan), finished(store, graph, chosen_plan, seed=1)
    delete(store, Deletable.JOB, job.id)
    delete(store, Deletable.MODEL, other_model)
    clock.advance(WEEK.total_seconds() - 1)
    assert purge(store, clock) == 0
    clock.advance(1)
    assert purge(store, clock) == 2
    assert purge(store, clock) == 0

    assert listed(store, show_deleted=True) == ([other.id], [model], [])
    with store.snapshot() as view:
        assert view.references.among({"a" * 64, "b" * 64}) == {"a" * 64, "b" * 64}  # the files of the model that stays
    assert read(store, other).outcomes[0].model_id is None
    assert refused(lambda: undelete(store, Deletable.JOB, job.id)) == "JOB_NOT_FOUND"
    with store.unit_of_work() as work:
        for table in Base.metadata.sorted_tables:  # whatever tables there are: nothing of the job is left but its model
            if "job_id" in table.columns and table.name != "models":
                left = select(func.count()).select_from(table).where(table.c.job_id == job.id)
                assert work.session.scalar(left) == 0, table.name


def test_one_sweep_purges_all_that_is_due(store: Store, graph: LayerGraph, clock: Clock, tmp_path: Path) -> None:
    specs = [a_spec(graph, seed=seed) for seed in range(2 * PURGE_BATCH + 1)]
    with store.unit_of_work() as work:
        for job in work.jobs.create_all([NewJob(PROJECT, spec, work_key=spec.work_key("test")) for spec in specs]):
            assert isinstance(job, JobRecord)
            work.jobs.cancel(PROJECT, job.id)
            work.trash.delete(Deletable.JOB, PROJECT, job.id, keep=WEEK)
        work.commit()
    later = create(store, graph, seed=-1)
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, later.id)
        work.trash.delete(Deletable.JOB, PROJECT, later.id, keep=2 * WEEK)
        work.commit()
    clock.advance(WEEK.total_seconds())
    Sweeper(store, Settings(data_dir=tmp_path), threading.Event()).sweep()
    assert listed(store, show_deleted=True)[0] == [later.id]


def test_a_job_has_to_end_first_and_then_nobody_joins_it(store: Store, graph: LayerGraph, chosen_plan: Plan) -> None:
    job = create(store, graph)
    assert refused(lambda: delete(store, Deletable.JOB, job.id)) == "JOB_NOT_FINISHED"
    ledger, held = JobLedger(store), claim(store, job)
    assert refused(lambda: delete(store, Deletable.JOB, job.id)) == "JOB_NOT_FINISHED"
    ledger.settle_target(held, a_report(graph, chosen_plan))
    ledger.finish(held, JobState.SUCCEEDED)
    assert create(store, graph).id == job.id

    delete(store, Deletable.JOB, job.id)
    second = create(store, graph)
    assert second.id != job.id
    undelete(store, Deletable.JOB, job.id)
    assert create(store, graph).id == second.id
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, second.id)
        work.commit()
    delete(store, Deletable.JOB, job.id)
    undelete(store, Deletable.JOB, job.id)
    assert create(store, graph).id == job.id


def test_work_whose_model_was_deleted_is_done_again(store: Store, graph: LayerGraph, chosen_plan: Plan) -> None:
    job, model = finished(store, graph, chosen_plan)
    delete(store, Deletable.MODEL, model)
    assert create(store, graph).id != job.id


def test_nobody_joins_a_job_one_of_whose_models_is_gone(
    store: Store, graph: LayerGraph, chosen_plan: Plan, clock: Clock
) -> None:
    job, ledger = create(store, graph, targets=2), JobLedger(store)
    held = claim(store, job)
    models = [ledger.settle_target(held, a_report(graph, chosen_plan, target_index=index)) for index in range(2)]
    ledger.finish(held, JobState.SUCCEEDED)
    one, two = [model for model in models if model is not None]
    assert create(store, graph, targets=2).id == job.id

    delete(store, Deletable.MODEL, one)
    delete(store, Deletable.MODEL, two)
    undelete(store, Deletable.MODEL, one)
    delete(store, Deletable.JOB, job.id)
    undelete(store, Deletable.JOB, job.id)
    second = create(store, graph, targets=2)
    assert second.id != job.id  # one is still deleted
    undelete(store, Deletable.MODEL, two)
    assert create(store, graph, targets=2).id == second.id
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, second.id)
        work.commit()
    delete(store, Deletable.MODEL, two)
    delete(store, Deletable.JOB, job.id)
    undelete(store, Deletable.MODEL, two)
    third = create(store, graph, targets=2)
    assert third.id != job.id  # both models are there again, and the job is not
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, third.id)
        work.commit()
    undelete(store, Deletable.JOB, job.id)
    assert create(store, graph, targets=2).id == job.id

    delete(store, Deletable.MODEL, one)
    clock.advance(WEEK.total_seconds())
    assert purge(store, clock) == 1
    delete(store, Deletable.JOB, job.id)
    undelete(store, Deletable.JOB, job.id)
    assert create(store, graph, targets=2).id != job.id


def test_a_data_set_that_a_job_trains_on_stays_and_one_that_was_deleted_is_not_trained_on(
    store: Store, graph: LayerGraph, clock: Clock
) -> None:
    upload(store)
    job = create(store, graph, dataset=content(DIGEST), dataset_id="mine")
    with pytest.raises(FailedPrecondition, match=job.id) as caught:
        delete(store, Deletable.DATASET, "mine")
    assert (caught.value.reason, caught.value.metadata) == ("DATASET_IN_USE", {"job": job.id})
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, job.id)
        work.commit()
    delete(store, Deletable.DATASET, "mine")

    assert refused(lambda: create(store, graph, dataset=content(DIGEST), dataset_id="mine")) == "DATASET_NOT_FOUND"
    assert refused(lambda: upload(store)) == "DATASET_DELETED"
    with store.snapshot() as work:
        assert work.datasets.of_content(PROJECT, DIGEST) is None
    clock.advance(WEEK.total_seconds())
    assert purge(store, clock) == 1
    upload(store, "f" * 64)
    assert listed(store)[2] == ["mine"]


def test_a_job_is_not_done_again_on_another_file_than_its_own(store: Store, graph: LayerGraph, clock: Clock) -> None:
    def again() -> JobRecord:
        return retry_job(RetryJob(PROJECT, job.id, etag="", request_id=""), store=store)

    upload(store)
    job = create(store, graph, dataset=content(DIGEST), dataset_id="mine")
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, job.id)
        work.commit()
    delete(store, Deletable.DATASET, "mine")
    clock.advance(WEEK.total_seconds())
    assert purge(store, clock) == 1
    assert refused(again) == "DATASET_NOT_FOUND"
    upload(store, "f" * 64)
    assert refused(again) == "DATASET_NOT_FOUND"
    with store.snapshot() as view:
        assert view.references.among({DIGEST}) == set()  # its file may be gone any time

    delete(store, Deletable.DATASET, "mine")
    clock.advance(WEEK.total_seconds())
    assert purge(store, clock) == 1
    upload(store)
    assert again().spec == job.spec


def test_a_request_to_do_a_job_again_gets_its_first_answer_whatever_becomes_of_the_old_job(
    store: Store, graph: LayerGraph, clock: Clock
) -> None:
    def again(request_id: str = "key") -> JobRecord:
        return retry_job(RetryJob(PROJECT, old.id, etag=old.etag, request_id=request_id), store=store)

    job = create(store, graph)
    with store.unit_of_work() as work:
        old = work.jobs.cancel(PROJECT, job.id)
        work.commit()
    first = again()
    delete(store, Deletable.JOB, old.id)
    assert again() == first
    assert refused(lambda: again("")) == "JOB_DELETED"
    clock.advance(WEEK.total_seconds())
    assert purge(store, clock) == 1
    assert again() == first
    assert refused(lambda: again("another")) == "JOB_NOT_FOUND"


def test_a_job_that_an_old_request_made_says_that_it_was_deleted(store: Store, graph: LayerGraph, clock: Clock) -> None:
    spec = a_spec(graph)
    asked = NewJob(PROJECT, spec, work_key=spec.work_key("test"), request_id="key", fingerprint="one")
    other = a_spec(graph, seed=1)
    with store.unit_of_work() as work:
        job = work.jobs.create(asked)
        work.jobs.cancel(PROJECT, job.id)
        work.trash.delete(Deletable.JOB, PROJECT, job.id, keep=WEEK)
        work.commit()
    deletion = Deletion(clock.now, clock.now + WEEK)
    with store.unit_of_work() as work:
        made = work.jobs.create_all([asked, NewJob(PROJECT, other, work_key=other.work_key("test"))])
        assert [each.deletion for each in made if isinstance(each, JobRecord)] == [deletion, None]
        again = work.jobs.requested(asked.request_key, asked.fingerprint)
    assert again is not None
    assert again.deletion == deletion


def test_another_project_deletes_nothing(store: Store, graph: LayerGraph, chosen_plan: Plan) -> None:
    job, model = finished(store, graph, chosen_plan)
    upload(store)
    for kind, identifier in ((Deletable.JOB, job.id), (Deletable.MODEL, model), (Deletable.DATASET, "mine")):
        with pytest.raises(NotFound):
            delete(store, kind, identifier, project="other")
        assert not delete(store, kind, identifier, project="other", allow_missing=True)
    assert listed(store) == ([job.id], [model], ["mine"])


def test_of_a_job_and_a_deletion_at_once_only_one_comes_true(store: Store, graph: LayerGraph) -> None:
    """Whatever comes first: a job is never made on a data set that is gone."""
    for seed in range(6):
        with store.unit_of_work() as work:
            work.datasets.put(PROJECT, replace(MINE, name=f"set-{seed}"), digest=DIGEST, size_bytes=1)
            work.commit()
        barrier = threading.Barrier(2)

        def make(seed: int = seed, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                create(store, graph, seed=seed, dataset=content(DIGEST), dataset_id=f"set-{seed}")
            except NotFound:
                return False
            return True

        def remove(seed: int = seed, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                return delete(store, Deletable.DATASET, f"set-{seed}")
            except FailedPrecondition:
                return False

        with ThreadPoolExecutor(2) as pool:
            made, removed = pool.submit(make), pool.submit(remove)
        assert made.result() != removed.result()


def test_a_model_can_be_deleted_while_its_job_goes_on(store: Store, graph: LayerGraph, chosen_plan: Plan) -> None:
    job, ledger = create(store, graph, targets=2), JobLedger(store)
    model = ledger.settle_target(claim(store, job), a_report(graph, chosen_plan))
    assert model is not None
    with ThreadPoolExecutor(1) as pool:
        with store.unit_of_work() as other:
            row = other.journal.lock(job.id)
            assert row is not None
            other.journal.record(row, "Epoch 1 of 30")
            deleting = pool.submit(delete, store, Deletable.MODEL, model)
            wait([deleting], timeout=0.5)
            other.commit()
        assert deleting.result()


def test_of_an_undeletion_and_a_purge_at_once_only_one_comes_true(store: Store, clock: Clock) -> None:
    for number in range(6):
        name = f"set-{number}"
        with store.unit_of_work() as work:
            work.datasets.put(PROJECT, replace(MINE, name=name), digest=DIGEST, size_bytes=1)
            work.commit()
        delete(store, Deletable.DATASET, name)
        clock.advance(WEEK.total_seconds())
        barrier = threading.Barrier(2)

        def take_back(name: str = name, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                undelete(store, Deletable.DATASET, name)
            except (NotFound, AlreadyExists):
                return False
            return True

        def clear(barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return purge(store, clock) == 1

        with ThreadPoolExecutor(2) as pool:
            back, cleared = pool.submit(take_back), pool.submit(clear)
        assert back.result() != cleared.result()
        assert (name in listed(store)[2]) == back.result()


def test_a_new_data_set_under_an_old_id_does_not_inherit_the_models_of_the_old_one(
    store: Store, graph: LayerGraph, chosen_plan: Plan, clock: Clock
) -> None:
    def models() -> tuple[int, int]:
        family = Family.of(PROJECT, graph.digest, DatasetName("mine", PROJECT))
        with store.snapshot() as work:
            return len(work.families.offers(family, ram_measurement=ARENA_BYTES)), work.families.versions([family])[family]

    upload(store)
    finished(store, graph, chosen_plan, dataset=content(DIGEST), dataset_id="mine")
    delete(store, Deletable.DATASET, "mine")
    clock.advance(WEEK.total_seconds())
    assert purge(store, clock) == 1
    assert models() == (1, 1)  # gone, and its models stay
    upload(store, "f" * 64)
    assert models() == (0, 2)
