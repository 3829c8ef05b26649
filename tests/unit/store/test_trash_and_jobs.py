"""Deleting, and the jobs that use what is deleted or are deleted themselves: who joins them, who does them again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest

from secateur.core.datasets import content
from secateur.core.errors import FailedPrecondition, NotFound
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.core.planning import Plan
from secateur.server.jobs.handlers import RetryJob, retry_job
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.ledger import JobLedger
from secateur.store.records import Deletion, JobRecord
from secateur.store.tables import Deletable
from tests.support.store import PROJECT, Clock, a_report, a_spec, claim, create
from tests.support.trash import DIGEST, MINE, WEEK, create_elsewhere, delete, finished, listed, purge, refused, undelete, upload


def test_a_job_has_to_end_first_and_then_nobody_joins_it(store: Store, graph: LayerGraph, chosen_plan: Plan) -> None:
    job = create(store, graph)
    create_elsewhere(store, graph)  # the same work, and none of ours
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


def test_nobody_joins_a_cancelled_job_that_was_deleted_and_came_back(store: Store, graph: LayerGraph) -> None:
    job = create(store, graph)
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, job.id)
        work.commit()
    delete(store, Deletable.JOB, job.id)
    undelete(store, Deletable.JOB, job.id)
    assert create(store, graph).id != job.id


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
    assert create(store, graph, targets=2).id != job.id  # it will not come to have all its models
