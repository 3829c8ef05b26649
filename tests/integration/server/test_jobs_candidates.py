"""What a search looked at."""

from __future__ import annotations

from functools import partial

import grpc
import pytest

from secateur.core.cost import cost_of
from secateur.core.reports import SearchCandidate, TargetReport
from secateur.core.resources import Resource
from secateur.store import Store
from secateur.store.ledger import JobLedger
from secateur.store.paging import encode_token
from secateur.v1 import job_service_pb2 as pb
from secateur.v1 import plan_service_pb2 as plans
from secateur.v1 import resources_pb2 as resources
from tests.support.server import Api, limit, refusal, target

SEARCH = plans.PlanPolicy(search=plans.SearchPolicy(candidates=5))
BEST = SearchCandidate(
    origin="flops, seed 3, temperature 0.5",
    plan="a" * 64,
    parameters=1_000,
    macs=50_000,
    scores={"synflow": 2.5, "naswot": -1.0},
    rank=1.5,
    measured_fits=True,
    validation_accuracy=0.9,
    chosen=True,
)
OTHERS = tuple(SearchCandidate(origin=f"device, seed {seed}", plan="b" * 64, parameters=seed, macs=1) for seed in range(3))
MISSED = SearchCandidate(origin="uniform", plan="c" * 64, parameters=9_000, macs=90_000, missed=(Resource.FLASH_BYTES,))
CANDIDATES = (BEST, *OTHERS, MISSED)


@pytest.fixture
def searched(api: Api, store: Store) -> pb.Job:
    """A job of two targets whose first one has come to an end."""
    return search(api, store, CANDIDATES)


def search(api: Api, store: Store, *found: tuple[SearchCandidate, ...]) -> pb.Job:
    """Creates a job of two targets; `found` is what was looked at for those that have come to an end."""
    job = api.create_job(policy=SEARCH, targets=[target(limit(fraction=fraction)) for fraction in (0.5, 0.25)])
    ledger = JobLedger(store)
    claim = ledger.claim(job.name.rpartition("/")[2], worker="w", lease_seconds=30)
    assert claim is not None
    cost = cost_of(claim.graph)
    for index, candidates in enumerate(found):
        ledger.settle_target(
            claim, TargetReport(target_index=index, plan=None, unpruned_cost=cost, compliance=(), candidates=candidates)
        )
    return job


def page(api: Api, job: str, **fields: object) -> pb.ListSearchCandidatesResponse:
    request = pb.ListSearchCandidatesRequest(parent=job, **fields)  # type: ignore[arg-type]
    response: pb.ListSearchCandidatesResponse = api.jobs.ListSearchCandidates(request)
    return response


def test_every_candidate_is_listed_best_first_with_what_is_known_of_it(api: Api, searched: pb.Job) -> None:
    best, *others, missed = page(api, searched.name).candidates

    assert (best.origin, best.plan, best.parameters, best.macs) == (BEST.origin, BEST.plan, 1_000, 50_000)
    assert (dict(best.scores), best.rank, best.measured_fits) == (BEST.scores, 1.5, True)
    assert (best.validation_accuracy, best.chosen) == (0.9, True)
    assert [candidate.origin for candidate in others] == [candidate.origin for candidate in OTHERS]
    assert list(missed.missed_limits) == [resources.RESOURCE_FLASH_BYTES]
    assert not any(missed.HasField(field) for field in ("rank", "measured_fits", "validation_accuracy"))


def test_pages_follow_on_one_another(api: Api, searched: pb.Job) -> None:
    found, token = [], ""
    for size in (2, 1, 2):
        response = page(api, searched.name, page_size=size, page_token=token)
        found += [candidate.origin for candidate in response.candidates]
        token = response.next_page_token

    assert found == [candidate.origin for candidate in CANDIDATES]
    assert token == ""


def test_a_page_has_at_most_a_thousand_and_its_token_is_of_its_own_target(api: Api, store: Store) -> None:
    job = search(api, store, CANDIDATES, OTHERS[:1] * 1_001)
    response = page(api, job.name, target_index=1, page_size=2_000)
    assert len(response.candidates) == 1_000
    assert len(page(api, job.name, target_index=1, page_token=response.next_page_token).candidates) == 1

    scope = f"candidates/{job.name.rpartition('/')[2]}/0"
    assert len(page(api, job.name, page_token=encode_token(scope, 4)).candidates) == 1
    for token in (response.next_page_token, *(encode_token(scope, start) for start in (-1, 1.5, "1"))):
        assert refusal(partial(page, api, job.name, page_token=token)).reason == "PAGE_TOKEN_INVALID"


def test_a_target_that_goes_on_has_no_candidates_yet(api: Api, searched: pb.Job) -> None:
    found = refusal(lambda: page(api, searched.name, target_index=1))

    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TARGET_NOT_FINISHED")
    assert found.fields == ["target_index"]


def test_a_job_that_does_not_search_says_so(api: Api) -> None:
    found = refusal(lambda: page(api, api.create_job().name))

    assert (found.code, found.reason, found.fields) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_SEARCH", ["parent"])


def test_what_is_not_there_is_refused_by_name(api: Api, searched: pb.Job) -> None:
    token = page(api, searched.name, page_size=1).next_page_token
    other = api.create_job(policy=SEARCH, seed=1).name
    nobody = f"{api.parent}/jobs/00000000-0000-0000-0000-000000000000"

    assert refusal(lambda: page(api, searched.name, target_index=2)).reason == "TARGET_UNKNOWN"
    assert refusal(lambda: page(api, searched.name, page_token="nonsense")).reason == "PAGE_TOKEN_INVALID"
    assert refusal(lambda: page(api, searched.name.replace(api.project, "elsewhere"))).reason == "JOB_NOT_FOUND"
    missing = refusal(lambda: page(api, nobody, page_token=token))
    assert (missing.code, missing.reason, missing.fields) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", ["parent"])
    assert refusal(lambda: page(api, other, page_token=token)).reason == "TARGET_NOT_FINISHED"


def test_a_job_keeps_its_whole_policy(api: Api) -> None:
    policy = plans.PlanPolicy(
        mode=plans.PLAN_MODE_FLOPS,
        round_to=2,
        step=0.25,
        min_width=6,
        residual=plans.RESIDUAL_COUPLED,
        temperature=0.5,
        search=plans.SearchPolicy(candidates=50, finalists=2, brief_epochs=1),
    )

    job = api.create_job(policy=policy, targets=[target(limit(fraction=0.5))], validate_only=True)

    assert job.policy == policy
    defaults = api.create_job(validate_only=True).policy
    assert (defaults.residual, defaults.temperature) == (plans.RESIDUAL_SKIP, 1)
    assert not defaults.HasField("hybrid")
    assert not defaults.HasField("search")


@pytest.mark.parametrize(
    ("policy", "reason", "field"),
    [
        (plans.PlanPolicy(mode=plans.PLAN_MODE_UNIFORM, search=plans.SearchPolicy()), "POLICY_INVALID", "job.policy.search"),
        (plans.PlanPolicy(temperature=5), "REQUEST_INVALID", "job.policy.temperature"),
        (plans.PlanPolicy(hybrid=plans.HybridPolicy(alpha=3)), "REQUEST_INVALID", "job.policy.hybrid.alpha"),
        (plans.PlanPolicy(search=plans.SearchPolicy(candidates=1)), "REQUEST_INVALID", "job.policy.search.candidates"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(api: Api, policy: plans.PlanPolicy, reason: str, field: str) -> None:
    found = refusal(lambda: api.create_job(policy=policy))

    assert (found.code, found.reason, found.fields) == (grpc.StatusCode.INVALID_ARGUMENT, reason, [field])
