"""Policies and plans between proto and domain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secateur.core.errors import InvalidArgument
from secateur.core.graph import Residual
from secateur.core.specs import Criterion, HybridPolicy, Order, PlanMode, PlanPolicy, SearchPolicy
from secateur.server.plans.mapping import plan_to_proto, policy_from_proto, policy_to_proto
from secateur.v1 import plan_service_pb2 as pb
from tests.support.store import a_graph, a_plan


@pytest.mark.parametrize(
    "policy",
    [
        PlanPolicy(),
        PlanPolicy(PlanMode.MEMORY, step=0.2, round_to=8, min_width=6, residual=Residual.COUPLED, temperature=0.0),
        PlanPolicy(PlanMode.HYBRID),
        PlanPolicy(PlanMode.HYBRID, hybrid=HybridPolicy(Criterion.FEATURE_MAP_RANK, Order.CHANNELS_FIRST, alpha=1.5)),
        PlanPolicy(search=SearchPolicy(candidates=7, finalists=1, brief_epochs=2)),
    ],
)
def test_a_policy_survives_the_round_trip(policy: PlanPolicy) -> None:
    assert policy_from_proto(policy_to_proto(policy)) == policy


def test_what_is_unset_is_filled_in() -> None:
    assert policy_from_proto(pb.PlanPolicy()) == PlanPolicy()
    assert policy_from_proto(pb.PlanPolicy(search=pb.SearchPolicy())).search == SearchPolicy()
    hybrid = pb.PlanPolicy(mode=pb.PLAN_MODE_HYBRID, hybrid=pb.HybridPolicy(order=pb.ORDER_CHANNELS_FIRST))
    assert policy_from_proto(hybrid).hybrid == HybridPolicy(order=Order.CHANNELS_FIRST)


def test_a_mode_that_does_not_look_at_hybrid_options_makes_them_no_other_work() -> None:
    looked_over = pb.PlanPolicy(mode=pb.PLAN_MODE_FLOPS, hybrid=pb.HybridPolicy(alpha=1.7))

    assert policy_from_proto(looked_over) == PlanPolicy(PlanMode.FLOPS)


def test_a_search_in_a_mode_that_draws_nothing_is_refused_where_it_is_asked_for() -> None:
    with pytest.raises(InvalidArgument) as caught:
        policy_from_proto(pb.PlanPolicy(mode=pb.PLAN_MODE_STOCK, search=pb.SearchPolicy()))

    assert (caught.value.reason, caught.value.field) == ("POLICY_INVALID", "policy.search")


def test_a_plan_shows_blocks_and_channels_and_a_list_leaves_the_channels_out() -> None:
    plan = a_plan(a_graph())
    group, width = next(iter(plan.widths.items()))
    inherited = replace(plan, dropped=("stage1_block2_add",), indices={group: tuple(range(width))})

    full, brief = plan_to_proto(inherited), plan_to_proto(inherited, brief=True)

    assert full is not None
    assert brief is not None
    assert list(full.dropped_blocks) == list(brief.dropped_blocks) == ["stage1_block2_add"]
    assert list(full.widths[0].indices) == list(range(width))
    assert not any(found.indices for found in (*full.widths[1:], *brief.widths))
    assert full.digest == brief.digest == inherited.digest
