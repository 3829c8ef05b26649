"""Budgets, targets and networks of the zoo."""

from __future__ import annotations

import pytest

from secateur.client import Budget, Limit, Target, UsageError, Zoo


def test_a_target_reads_every_limit_with_its_unit() -> None:
    target = Target(
        "stm32f746",
        parameters="50%",
        macs="2M",
        flops=4_000_000,
        memory="1MiB",
        flash="64KiB",
        ram="40KiB",
        latency="20ms",
        accuracy="95%",
    )
    assert target.limits == (
        Limit("parameters", fraction=0.5),
        Limit("macs", value=2_000_000),
        Limit("flops", value=4_000_000),
        Limit("memory_bytes", value=2**20),
        Limit("flash_bytes", value=65_536),
        Limit("ram_bytes", value=40_960),
        Limit("latency_ms", value=20.0),
        Limit("accuracy", value=0.95),
    )


def test_a_profile_alone_is_a_target() -> None:
    assert Target("stm32f746").limits == ()


def test_a_target_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="device profile or at least one limit") as caught:
        Target()
    assert caught.value.reason == "BUDGET_EMPTY"


def test_a_wrong_limit_is_refused_where_it_is_written() -> None:
    with pytest.raises(UsageError, match=r"latency must be .* Received: 'soon'"):
        Budget(latency="soon")


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 0)])
def test_a_zoo_network_needs_three_sizes(shape: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="three sizes"):
        Zoo("resnet20", shape, 10)


def test_a_zoo_network_tells_two_classes_apart_at_least() -> None:
    with pytest.raises(UsageError, match="two classes"):
        Zoo("resnet20", (8, 8, 1), 1)
