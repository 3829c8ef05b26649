"""What the tests of deleting share: things to delete, and each step in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from secateur.core.cost import cost_of
from secateur.core.datasets import DATASETS
from secateur.core.errors import SecateurError
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobState
from secateur.core.planning import Plan
from secateur.core.reports import SearchCandidate
from secateur.store import Store
from secateur.store.ledger import JobLedger
from secateur.store.records import JobRecord
from secateur.store.tables import Deletable
from tests.support.store import PROJECT, Clock, a_report, claim, create

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
    report = replace(a_report(graph, chosen_plan), candidates=(SearchCandidate("uniform", chosen_plan.digest, 1, 2),))
    model = ledger.settle_target(held, report)
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


def create_elsewhere(store: Store, graph: LayerGraph, **asked: Any) -> None:
    """Creates a job in another project."""
    with store.unit_of_work() as work:
        work.architectures.put("other", graph, cost_of(graph))
        work.commit()
    create(store, graph, project="other", **asked)
