"""The audit log in the store: appended, selected from, pruned."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from secateur.server.forgetting import Forgetter, prune_audit
from secateur.store import Store
from secateur.store.records import AuditRecord
from secateur.store.requests import RequestKey
from tests.support.store import Clock


def record(clock: Clock, **fields: Any) -> AuditRecord:
    facts = {
        "time": clock.now,
        "token": "t1",
        "project": "one",
        "method": "/secateur.v1.JobService/CreateJob",
        "resource": "projects/one/jobs/1",
        "code": "OK",
        "request_id": "r1",
    }
    return AuditRecord(**{**facts, **fields})


def listed(store: Store, **chosen: Any) -> list[AuditRecord]:
    with store.snapshot() as work:
        return list(work.audit.list(**{"limit": 100, **chosen}))


def test_the_newest_come_first_and_are_selected_by_project_token_and_time(store: Store, clock: Clock) -> None:
    kept = []
    for project, token in (("one", "t1"), ("two", "t1"), ("one", "t2")):
        kept.append(record(clock, project=project, token=token))
        clock.advance(60)
    with store.unit_of_work() as work:
        work.audit.add(kept[:2])
        work.audit.add(kept[2:])
        work.commit()

    assert listed(store) == kept[::-1]
    assert listed(store, limit=1) == [kept[2]]
    assert listed(store, project="one") == [kept[2], kept[0]]
    assert listed(store, token="t1") == [kept[1], kept[0]]
    assert listed(store, since=kept[1].time) == [kept[2], kept[1]]


def test_pruning_takes_what_is_older_and_nothing_else(store: Store, clock: Clock) -> None:
    old = [record(clock, request_id=f"r{number}") for number in range(1_200)]
    new = record(clock, time=clock.now + timedelta(days=1))
    with store.unit_of_work() as work:
        work.audit.add([*old, new])
        assert work.audit.prune(new.time, 1) == 1
        work.commit()
    clock.now = new.time + timedelta(hours=2)
    assert prune_audit(store, timedelta(hours=2)) == 1_199
    assert listed(store) == [new]


@pytest.mark.parametrize(("keep", "left"), [(timedelta(days=2), [1]), (None, [1, 3])])
def test_a_server_forgets_what_is_older_than_its_setting_by_the_clock_of_the_database(
    store: Store, clock: Clock, keep: timedelta | None, left: list[int]
) -> None:
    ages = {days: record(clock, time=clock.now - timedelta(days=days), request_id=str(days)) for days in (3, 1)}
    with store.unit_of_work() as work:
        work.audit.add(ages.values())
        work.commit()
    Forgetter(store, request_ids=timedelta(days=7), audit=keep, stopping=threading.Event()).forget()
    assert listed(store) == [ages[days] for days in left]


def test_a_server_that_stops_forgets_the_rest_another_time(store: Store, clock: Clock) -> None:
    keys = [RequestKey("one", "CreateJob", str(number)) for number in range(600)]
    with store.unit_of_work() as work:
        work.audit.add(record(clock, request_id=key.request_id) for key in keys)
        for key in keys:
            work.requests.remember(key, "f", "job")
        work.commit()
    clock.advance(1)
    stopping = threading.Event()
    stopping.set()
    Forgetter(store, request_ids=timedelta(0), audit=timedelta(0), stopping=stopping).forget()
    assert len(listed(store, limit=1_000)) == 100
    with store.snapshot() as work:
        work.requests.read(keys)
        assert sum(work.requests.answer(key, "f") is not None for key in keys) == 100
