"""Which widths a plan may choose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.core.errors import InvalidArgument
from secateur.core.planning import WidthRule

RULES = st.builds(WidthRule, step=st.floats(0.01, 0.9), round_to=st.integers(1, 16), min_width=st.integers(1, 40))


def allowed(width: int, full: int, rule: WidthRule) -> bool:
    return width == full or (width % rule.round_to == 0 and rule.min_width <= width < full)


@given(RULES, st.integers(1, 600))
def test_steps_go_down_to_the_smallest_width_and_stay_allowed(rule: WidthRule, full: int) -> None:
    width = full
    while width > rule.smallest(full):
        narrower = rule.narrower(width, full)
        assert narrower < width
        width = narrower
        assert allowed(width, full, rule)
    assert width == rule.smallest(full)
    assert rule.smallest(full) == min(width for width in range(1, full + 1) if allowed(width, full, rule))


@given(RULES, st.integers(1, 600), st.data())
def test_between_lists_every_allowed_width(rule: WidthRule, full: int, data: st.DataObject) -> None:
    widths = [width for width in range(1, full + 1) if allowed(width, full, rule)]
    low, high = sorted((data.draw(st.sampled_from(widths)), data.draw(st.sampled_from(widths))))
    assert list(rule.between(low, high)) == [width for width in widths if low < width <= high]


def test_the_papers_step_is_a_tenth_of_the_present_channels() -> None:
    rule = WidthRule(0.1, 1, 1)
    assert [rule.narrower(width, 64) for width in (64, 58, 19, 9, 2)] == [58, 53, 18, 8, 1]


def test_narrow_groups_stay_as_they_are() -> None:
    assert WidthRule(round_to=8).smallest(6) == 6
    assert WidthRule(min_width=4).smallest(3) == 3
    assert WidthRule(round_to=8, min_width=10).smallest(64) == 16


@pytest.mark.parametrize(
    ("field", "value"), [("step", 0), ("step", 1), ("step", float("nan")), ("round_to", 0), ("min_width", 0), ("min_width", -4)]
)
def test_refuses_a_policy_out_of_range(field: str, value: float) -> None:
    with pytest.raises(InvalidArgument) as caught:
        WidthRule(**{field: value})  # type: ignore[arg-type]
    assert caught.value.reason == "POLICY_INVALID"
    assert caught.value.field == f"policy.{field}"
