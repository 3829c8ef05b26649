"""Jobs that are created together."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secateur.core.cost import cost_of
from secateur.core.errors import SecateurError
from secateur.core.graph import LayerGraph
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.quotas import Quotas
from secateur.store.records import JobRecord
from secateur.store.tables import Deletable
from tests.support.store import PROJECT, Clock, a_spec, events, owed

OTHER = "other"


@pytest.fixture
def bounded(database_url: str, store: Store, clock: Clock, graph: LayerGraph) -> Iterator[Store]:
    """The store of the test, with room for two queued jobs a project, and a second project."""
    with store.unit_of_work() as work:
        work.architectures.put(OTHER, graph, cost_of(graph))
        work.commit()
    opened = Store(database_url, clock=clock, quotas=Quotas(queued_jobs=2))
    yield opened
    opened.close()


def new(graph: LayerGraph, seed: int, **fields: str) -> NewJob:
    spec = a_spec(graph, seed=seed)
    return NewJob(**{"project": PROJECT, "spec": spec, "work_key": spec.work_key("t"), **fields})  # type: ignore[arg-type]


def together(store: Store, wanted: Sequence[NewJob]) -> list[JobRecord | SecateurError]:
    with store.unit_of_work() as work:
        made = work.jobs.create_all(wanted)
        work.commit()
    return made


def one_by_one(store: Store, wanted: Sequence[NewJob]) -> list[JobRecord | SecateurError]:
    return [together(store, [each])[0] for each in wanted]


def outcomes(made: Sequence[JobRecord | SecateurError]) -> list[object]:
    """Returns what is comparable between two runs: ids by when they first came, the reasons of refusals."""
    seen: dict[str, int] = {}
    return [
        each.reason if isinstance(each, SecateurError) else (seen.setdefault(each.id, len(seen)), each.project, each.spec.seed)
        for each in made
    ]


@given(
    asked=st.lists(
        st.tuples(st.sampled_from((PROJECT, OTHER)), st.integers(0, 2), st.sampled_from(("", "a", "b"))), min_size=1, max_size=8
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_together_is_as_one_after_the_other(bounded: Store, graph: LayerGraph, asked: list[tuple[str, int, str]]) -> None:
    def run(create: Callable[[Store, Sequence[NewJob]], list[JobRecord | SecateurError]]) -> list[object]:
        once = uuid.uuid4()
        wanted = [
            new(graph, seed, project=project, request_id=key and f"{key}{once}", fingerprint=f"{seed}")
            for project, seed, key in asked
        ]
        made = create(bounded, [replace(each, work_key=f"{each.spec.seed:064}") for each in wanted])
        for each in {job.id: job for job in made if isinstance(job, JobRecord)}.values():
            assert [event.sequence for event in events(bounded, each)] == [1]
            assert owed(bounded).count(each.id) == 1
            with bounded.unit_of_work() as work:
                work.jobs.cancel(each.project, each.id)
                work.commit()
        return outcomes(made)

    assert run(together) == run(one_by_one)


def test_one_that_is_refused_keeps_no_other_from_being_made(bounded: Store, graph: LayerGraph) -> None:
    gone = replace(a_spec(graph, seed=5), dataset="sha256:" + "a" * 64, dataset_id="gone")
    made = together(
        bounded,
        [
            NewJob(PROJECT, gone, work_key="gone"),
            new(graph, 1, request_id="key", fingerprint="one"),
            new(graph, 2, request_id="key", fingerprint="another"),
            new(graph, 3),
            new(graph, 4),
            new(graph, 4, project=OTHER),
        ],
    )
    assert outcomes(made) == [
        "DATASET_NOT_FOUND",
        (0, PROJECT, 1),
        "REQUEST_ID_REUSED",
        (1, PROJECT, 3),
        "QUEUED_JOBS_QUOTA",
        (2, OTHER, 4),
    ]


def test_a_request_whose_job_was_purged_keeps_no_other_from_being_made(store: Store, graph: LayerGraph, clock: Clock) -> None:
    first = new(graph, 1, request_id="key", fingerprint="one")
    job = together(store, [first])[0]
    assert isinstance(job, JobRecord)
    with store.unit_of_work() as work:
        work.jobs.cancel(PROJECT, job.id)
        work.trash.delete(Deletable.JOB, PROJECT, job.id, keep=timedelta(0))
        work.commit()
    clock.advance(1)
    with store.unit_of_work() as work:
        assert work.trash.purge(clock.now) == 1
        work.commit()
    made = together(store, [first, new(graph, 2)])
    assert outcomes(made) == ["JOB_NOT_FOUND", (0, PROJECT, 2)]
