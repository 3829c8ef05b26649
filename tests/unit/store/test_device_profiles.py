"""Device profiles that projects add: kept as they were given, once per id, and only so many."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secateur.core import devices
from secateur.core.cost import cost_of
from secateur.core.devices import DeviceProfile
from secateur.core.errors import AlreadyExists, InvalidArgument, NotFound, QuotaExceeded
from secateur.core.graph import LayerGraph
from secateur.core.planning import Plan
from secateur.core.profiles import MAX_PROFILES_PER_PROJECT, ProfileName
from secateur.core.specs import Target
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.ledger import JobLedger
from secateur.store.tables import JobRow
from tests.support.store import PROJECT, a_report, a_spec, claim, create, read

MINE = replace(devices.get("stm32f746"), id="my-board", title="My board", source="data sheet", project=PROJECT)


def add(store: Store, profile: DeviceProfile, **key: str) -> DeviceProfile:
    with store.unit_of_work() as work:
        added = work.device_profiles.create(profile, **key)
        work.commit()
    return added


def names(store: Store, project: str = PROJECT) -> list[str]:
    with store.snapshot() as work:
        return [profile.id for profile in work.device_profiles.list(project)]


def test_a_profile_comes_back_whole(store: Store) -> None:
    add(store, MINE)
    with store.snapshot() as work:
        assert work.device_profiles.get(PROJECT, "my-board") == MINE


def test_profiles_are_listed_by_id_and_by_project(store: Store) -> None:
    for profile in (MINE, replace(MINE, id="a-board"), replace(MINE, project="other")):
        add(store, profile)
    assert names(store) == ["a-board", "my-board"]
    assert names(store, "other") == ["my-board"]
    assert names(store, "nobody") == []


def test_an_id_is_taken_once_per_project_until_it_is_deleted(store: Store) -> None:
    add(store, MINE)
    with pytest.raises(AlreadyExists, match="my-board") as caught:
        add(store, replace(MINE, ram_bytes=2**20))
    assert caught.value.reason == "DEVICE_PROFILE_EXISTS"
    with store.unit_of_work() as work:
        work.device_profiles.delete(PROJECT, "my-board")
        work.commit()
    assert add(store, replace(MINE, ram_bytes=2**20)).ram_bytes == 2**20


def test_what_is_not_there_is_not_found(store: Store) -> None:
    add(store, replace(MINE, project="other"))
    with store.unit_of_work() as work:
        for call in (work.device_profiles.get, work.device_profiles.delete):
            with pytest.raises(NotFound) as caught:
                call(PROJECT, "my-board")
            assert caught.value.reason == "DEVICE_PROFILE_NOT_FOUND"
            assert "`secateur profiles list` shows all" in caught.value.message


def test_a_repeated_key_returns_the_first_answer_and_never_revives_it(store: Store) -> None:
    add(store, MINE, request_id="r", fingerprint="f")
    assert add(store, MINE, request_id="r", fingerprint="f") == MINE
    with pytest.raises(InvalidArgument) as reused:
        add(store, replace(MINE, id="another"), request_id="r", fingerprint="g")
    with store.unit_of_work() as work:
        work.device_profiles.delete(PROJECT, "my-board")
        work.commit()
    with pytest.raises(NotFound) as gone:
        add(store, MINE, request_id="r", fingerprint="f")
    assert (reused.value.reason, gone.value.reason) == ("REQUEST_ID_REUSED", "DEVICE_PROFILE_NOT_FOUND")
    assert names(store) == []


def test_a_project_has_only_so_many(store: Store) -> None:
    with store.unit_of_work() as work:
        for number in range(MAX_PROFILES_PER_PROJECT):
            work.device_profiles.create(replace(MINE, id=f"board-{number}"))
        work.commit()
    with pytest.raises(QuotaExceeded, match="delete one") as caught:
        add(store, MINE)
    assert caught.value.reason == "DEVICE_PROFILE_QUOTA"
    add(store, replace(MINE, project="other"))


def test_a_job_keeps_the_profile_that_it_was_made_for(
    store: Store, ledger: JobLedger, graph: LayerGraph, chosen_plan: Plan
) -> None:
    add(store, MINE)
    spec = replace(a_spec(graph), targets=(Target(MINE),))
    with store.unit_of_work() as work:
        job = work.jobs.create(NewJob(PROJECT, spec, work_key=spec.work_key("test")))
        work.device_profiles.delete(PROJECT, "my-board")
        work.commit()

    claimed = claim(store, job)
    ledger.settle_target(claimed, a_report(graph, chosen_plan))

    assert claimed.spec.targets[0].device_profile == MINE
    with store.snapshot() as work:
        (model,) = work.models.list(PROJECT).items
    assert model.device_profile == ProfileName("my-board", PROJECT)
    assert model.report.unpruned_cost == cost_of(graph)


def test_a_job_that_an_older_version_wrote_is_read_and_claimed(store: Store, graph: LayerGraph) -> None:
    job = create(store, graph)
    with store.unit_of_work() as work:
        row = work.session.get_one(JobRow, job.id)
        (target,) = row.spec["targets"]
        row.spec = {**row.spec, "targets": [{**target, "device_profile": "stm32f746"}]}
        work.commit()

    assert read(store, job).spec == job.spec
    assert claim(store, job).spec.targets[0].device_profile == devices.get("stm32f746")
