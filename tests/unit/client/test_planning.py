"""How to plan, as the SDK is asked and as it answers."""

from __future__ import annotations

import asyncio

import pytest

from secateur.client import Client, FailedPrecondition, HybridPolicy, SearchPolicy, Target, UsageError, aio
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import plan_service_pb2 as pb
from tests.unit.client.remote.service import Service

TARGET = Target(parameters="50%")
ARCHITECTURE = "projects/default/architectures/00ff"


def test_what_is_left_out_is_the_service_s_default(remote: Service, client: Client) -> None:
    client.quote(ARCHITECTURE, targets=TARGET)
    client.quote(ARCHITECTURE, targets=TARGET, mode=None, search=None, round_to=None)

    for request in remote.faults.requests["Quote"]:
        assert isinstance(request, pb.QuoteRequest)
        assert request.policy == pb.PlanPolicy()


def test_a_job_shows_the_policy_that_was_asked_for(client: Client) -> None:
    hybrid = HybridPolicy(criterion="feature_map_rank", order="channels_first", alpha=1.3)
    snapshot = client.submit(ARCHITECTURE, dataset="digits", targets=TARGET, mode="hybrid", hybrid=hybrid).snapshot
    assert (snapshot.mode, snapshot.hybrid, snapshot.search) == ("hybrid", hybrid, None)

    search = SearchPolicy(candidates=30, finalists=1, brief_epochs=2)
    snapshot = client.submit(
        ARCHITECTURE, dataset="digits", targets=TARGET, search=search, residual="coupled", temperature=0.0, step=0.3
    ).snapshot
    assert (snapshot.search, snapshot.hybrid) == (search, None)
    assert (snapshot.residual, snapshot.temperature, snapshot.step) == ("coupled", 0.0, 0.3)


def test_words_and_counts_are_checked_before_anything_is_sent(remote: Service, client: Client) -> None:
    with pytest.raises(UsageError, match="criterion must be one of weight_l1") as caught:
        client.quote("resnet20", targets=TARGET, mode="hybrid", hybrid=HybridPolicy(criterion="size"))
    assert caught.value.field == "criterion"
    with pytest.raises(UsageError, match="Received: mode device"):
        client.quote("resnet20", targets=TARGET, hybrid=HybridPolicy())
    with pytest.raises(UsageError, match="finalists must be a whole number above zero"):
        client.quote("resnet20", targets=TARGET, search=SearchPolicy(finalists=0))
    assert not remote.faults.requests


def test_a_plan_tells_blocks_and_channels(remote: Service, client: Client) -> None:
    remote.plans.dropped_blocks = ["stage1_block2_add"]
    (quote,) = client.quote(ARCHITECTURE, targets=TARGET)
    assert quote.plan is not None
    assert quote.plan.dropped_blocks == ("stage1_block2_add",)
    assert quote.plan.widths[0].indices == ()


def test_candidates_are_read_page_by_page(remote: Service, client: Client) -> None:
    remote.jobs.candidates = [jobs_pb.SearchCandidate(origin=f"seed {seed}", rank=seed) for seed in range(5)]
    first = next(iter(client.search_candidates("00000001")))
    assert (first.origin, first.rank, first.measured_fits, first.chosen) == ("seed 0", 0.0, None, False)
    assert len(remote.faults.requests["ListSearchCandidates"]) == 1

    async def all_of_them() -> list[str]:
        async with aio.Client(remote.address) as awaited:
            return [candidate.origin async for candidate in awaited.search_candidates("00000001", 1)]

    assert asyncio.run(all_of_them()) == [f"seed {seed}" for seed in range(5)]
    remote.faults.fail("ListSearchCandidates", "FAILED_PRECONDITION", reason="TARGET_NOT_FINISHED")
    with pytest.raises(FailedPrecondition) as caught:
        list(client.search_candidates("00000001"))
    assert caught.value.reason == "TARGET_NOT_FINISHED"
