"""Deleting: out of sight at once, undone until the purge, and gone for good after it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from secateur.core.datasets import DatasetName, content
from secateur.core.errors import AlreadyExists, NotFound
from secateur.core.graph import LayerGraph
from secateur.core.planning import Plan
from secateur.core.reports import ARENA_BYTES
from secateur.server.sweeper import Sweeper
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.families import Family
from secateur.store.records import JobRecord
from secateur.store.settings import Settings
from secateur.store.tables import Base, Deletable
from secateur.store.trash import PURGE_BATCH
from tests.support.store import PROJECT, Clock, a_spec, create, read
from tests.support.trash import DIGEST, MINE, WEEK, create_elsewhere, delete, finished, listed, purge, refused, undelete, upload


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
    create_elsewhere(store, graph, dataset=content(DIGEST), dataset_id=job.id)
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


def test_another_project_deletes_nothing(store: Store, graph: LayerGraph, chosen_plan: Plan) -> None:
    job, model = finished(store, graph, chosen_plan)
    upload(store)
    for kind, identifier in ((Deletable.JOB, job.id), (Deletable.MODEL, model), (Deletable.DATASET, "mine")):
        with pytest.raises(NotFound):
            delete(store, kind, identifier, project="other")
        assert not delete(store, kind, identifier, project="other", allow_missing=True)
    assert listed(store) == ([job.id], [model], ["mine"])


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


def test_a_purge_leaves_what_was_just_taken_back_and_deleted_anew(store: Store, clock: Clock) -> None:
    upload(store)
    delete(store, Deletable.DATASET, "mine")
    clock.advance(WEEK.total_seconds())
    with ThreadPoolExecutor(1) as pool:
        with store.unit_of_work() as other:
            other.trash.undelete(Deletable.DATASET, PROJECT, "mine")
            other.trash.delete(Deletable.DATASET, PROJECT, "mine", keep=WEEK)
            purging = pool.submit(purge, store, clock)
            wait([purging], timeout=0.5)
            other.commit()
        assert purging.result() == 0
    undelete(store, Deletable.DATASET, "mine")


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
