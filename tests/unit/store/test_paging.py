"""Lists: newest first, stable under inserts, one project at a time."""

from __future__ import annotations

import base64
import json

import pytest

from secateur.core.cost import cost_of
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.records import JobRecord, Page
from tests.support.store import PROJECT, Clock, a_graph, a_spec, create


def page(store: Store, size: int = 0, token: str = "", project: str = PROJECT) -> Page[JobRecord]:
    """Reads one page of jobs."""
    with store.snapshot() as work:
        return work.jobs.list(project, page_size=size, page_token=token)


def test_pages_do_not_shift_when_jobs_are_added(store: Store, graph: LayerGraph, clock: Clock) -> None:
    jobs = []
    for seed in range(7):
        if seed % 2:  # pairs share a creation time: the id decides
            clock.advance(1)
        jobs.append(create(store, graph, seed=seed))
    expected = [job.id for job in sorted(jobs, key=lambda job: (job.create_time, job.id), reverse=True)]

    seen: list[str] = []
    token = ""
    for extra in range(100, 200):
        answer = page(store, 2, token)
        seen += [job.id for job in answer.items]
        token = answer.next_page_token
        clock.advance(1)
        create(store, graph, seed=extra)
        if not token:
            break
    assert seen == expected


def test_a_full_last_page_ends_the_list(store: Store, graph: LayerGraph) -> None:
    for seed in range(4):
        create(store, graph, seed=seed)
    assert page(store, 4).next_page_token == ""
    assert len(page(store, 3, page(store, 3).next_page_token).items) == 1
    assert page(store, 4, project="empty") == Page((), "")


def test_page_sizes(store: Store, graph: LayerGraph) -> None:
    with store.unit_of_work() as work:
        for number in range(201):
            work.jobs.create(NewJob(PROJECT, a_spec(graph, seed=number), work_key=f"{number:064}"))
        work.commit()
    assert [len(page(store, size).items) for size in (0, 1, 200, 1000)] == [50, 1, 200, 200]
    with pytest.raises(InvalidArgument) as caught:
        page(store, -1)
    assert (caught.value.reason, caught.value.field) == ("PAGE_SIZE_INVALID", "page_size")


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "%%%",
        "é",
        base64.urlsafe_b64encode(b"5").decode(),
        base64.urlsafe_b64encode(b"[1,2]").decode(),
        base64.urlsafe_b64encode(b'{"a": 1}').decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(json.dumps(["jobs/default", "yesterday", "id"]).encode()).decode(),
        base64.urlsafe_b64encode(json.dumps(["jobs/default", "2026-01-01T00:00:00", "id"]).encode()).decode(),
        base64.urlsafe_b64encode(json.dumps(["jobs/default", 5, "id"]).encode()).decode(),
    ],
)
def test_a_token_that_is_none_is_refused(store: Store, token: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        page(store, 1, token)
    assert (caught.value.reason, caught.value.field) == ("PAGE_TOKEN_INVALID", "page_token")


def test_a_token_of_another_list_is_refused(store: Store, graph: LayerGraph) -> None:
    for seed in range(2):
        create(store, graph, seed=seed)
    token = page(store, 1).next_page_token
    with store.snapshot() as work:
        for call in (work.models.list, work.architectures.list):
            with pytest.raises(InvalidArgument, match="another list"):
                call(PROJECT, page_token=token)
    with pytest.raises(InvalidArgument, match="another list"):
        page(store, 1, token, project="other")


def test_architectures_and_models_are_listed_the_same_way(store: Store, graph: LayerGraph, clock: Clock) -> None:
    clock.advance(1)
    second = a_graph(classes=3)
    with store.unit_of_work() as work:
        work.architectures.put(PROJECT, second, cost_of(second))
        work.commit()
    with store.snapshot() as work:
        first_page = work.architectures.list(PROJECT, page_size=1)
        second_page = work.architectures.list(PROJECT, page_size=1, page_token=first_page.next_page_token)
        assert work.models.list(PROJECT) == Page((), "")
    assert [item.digest for item in first_page.items + second_page.items] == [second.digest, graph.digest]
    assert second_page.next_page_token == ""
