"""Quoting plans."""

from __future__ import annotations

import grpc

from secateur.v1 import plan_service_pb2 as pb
from secateur.v1 import resources_pb2 as resources
from tests.support.server import MACS, Api, limit, refusal, target


def quote(api: Api, *targets: pb.Target, architecture: str = "", **fields: object) -> pb.QuoteResponse:
    request = pb.QuoteRequest(architecture=architecture or api.upload_zoo().name, targets=targets, **fields)  # type: ignore[arg-type]
    response: pb.QuoteResponse = api.plans.Quote(request)
    return response


def test_every_target_is_quoted_in_turn(api: Api) -> None:
    response = quote(
        api, target(limit(fraction=0.2), profile="stm32f746"), target(limit(value=10)), target(limit(fraction=1.0)), seed=3
    )

    feasible, infeasible, unchanged = response.quotes
    unpruned = response.unpruned_cost.macs
    assert (feasible.feasible, feasible.unchanged, feasible.binding_limit) == (True, False, 0)
    macs = next(found for found in feasible.limits if found.resource == MACS)
    assert macs.asked == unpruned * 0.2
    assert macs.predicted == feasible.plan.cost.macs <= macs.asked < macs.unpruned == unpruned
    assert {found.origin for found in feasible.limits} == {"budget", "device_profile"}
    assert (feasible.plan.seed, feasible.plan.mode, len(feasible.plan.digest)) == (3, pb.PLAN_MODE_DEVICE, 64)
    assert any(width.width < width.unpruned_width for width in feasible.plan.widths)

    assert (infeasible.feasible, infeasible.binding_limit) == (False, MACS)
    assert infeasible.limits[0].smallest_reachable == infeasible.plan.cost.macs > 10
    assert f"{infeasible.plan.cost.macs:,}" in infeasible.message

    assert (unchanged.feasible, unchanged.unchanged) == (True, True)


def test_a_quote_follows_its_policy(api: Api) -> None:
    for mode in (
        pb.PLAN_MODE_PARAMETERS,
        pb.PLAN_MODE_FLOPS,
        pb.PLAN_MODE_MEMORY,
        pb.PLAN_MODE_ACTIVATION,
        pb.PLAN_MODE_UNIFORM,
    ):
        policy = pb.PlanPolicy(mode=mode, round_to=8, min_width=8, step=0.5)

        (found,) = quote(api, target(limit(fraction=0.5)), policy=policy).quotes

        assert found.plan.mode == mode
        assert {width.width % 8 for width in found.plan.widths} == {0}


def test_a_stock_network_is_quoted_by_name(api: Api) -> None:
    policy = pb.PlanPolicy(mode=pb.PLAN_MODE_STOCK)
    larger = api.upload_zoo("resnet32").name

    fits, too_large = quote(
        api, target(limit(fraction=0.7)), target(limit(value=10)), policy=policy, architecture=larger
    ).quotes

    assert (fits.feasible, fits.plan.mode, fits.plan.stock, len(fits.plan.widths)) == (True, pb.PLAN_MODE_STOCK, "resnet20", 0)
    assert (too_large.feasible, too_large.plan.stock) == (False, "resnet20")
    assert too_large.limits[0].smallest_reachable == fits.plan.cost.macs


def test_a_hybrid_plan_is_quoted_with_the_blocks_that_go(api: Api) -> None:
    policy = pb.PlanPolicy(mode=pb.PLAN_MODE_HYBRID, hybrid=pb.HybridPolicy(alpha=1.5, order=pb.ORDER_CHANNELS_FIRST))

    (found,) = quote(api, target(limit(fraction=0.3)), policy=policy, architecture=api.upload_zoo("resnet56").name).quotes

    assert (found.feasible, found.plan.mode) == (True, pb.PLAN_MODE_HYBRID)
    assert found.plan.dropped_blocks
    assert found.plan.cost.macs <= found.limits[0].asked


def test_the_budget_curve_goes_from_the_full_width_down(api: Api) -> None:
    response = quote(api, target(limit(fraction=0.5)))

    assert [round(point.width, 1) for point in response.curve] == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert response.curve[0].cost == response.unpruned_cost
    assert response.curve[5].cost.activation_bytes < response.unpruned_cost.activation_bytes


def test_the_same_question_has_the_same_answer(api: Api) -> None:
    asked = target(limit(resources.RESOURCE_PARAMETERS, fraction=0.3))

    assert quote(api, asked, seed=5) == quote(api, asked, seed=5)


def test_what_cannot_be_quoted_says_why(api: Api) -> None:
    nothing = refusal(lambda: quote(api, target(profile="esp32-s3"), pb.Target()))
    unknown = refusal(lambda: quote(api, target(profile="abacus")))
    missing = refusal(lambda: quote(api, target(limit(value=1)), architecture=f"{api.parent}/architectures/{'0' * 16}"))

    assert (nothing.code, nothing.reason, nothing.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "BUDGET_EMPTY",
        ["targets[1].budget.limits"],
    )
    assert (unknown.reason, unknown.fields) == ("DEVICE_PROFILE_UNKNOWN", ["targets[0].device_profile"])
    assert (missing.code, missing.reason) == (grpc.StatusCode.NOT_FOUND, "ARCHITECTURE_NOT_FOUND")
