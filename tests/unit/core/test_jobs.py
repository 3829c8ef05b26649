"""Life cycle of a job: every pair of states."""

from __future__ import annotations

import itertools

import pytest

from secateur.core.errors import FailedPrecondition
from secateur.core.jobs import MOVES, JobState, check_move

QUEUED, RUNNING = JobState.QUEUED, JobState.RUNNING
ENDS = {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.INFEASIBLE, JobState.EXPIRED}
ALLOWED = {
    (QUEUED, RUNNING),  # claimed
    (QUEUED, JobState.CANCELLED),
    (QUEUED, JobState.FAILED),
    (QUEUED, JobState.EXPIRED),
    (RUNNING, QUEUED),  # worker lost
    *((RUNNING, end) for end in ENDS),
}


@pytest.mark.parametrize(("current", "target"), list(itertools.product(JobState, JobState)))
def test_every_move(current: JobState, target: JobState) -> None:
    if (current, target) in ALLOWED:
        check_move(current, target)
        return
    with pytest.raises(FailedPrecondition, match=f"{current} cannot become {target}") as caught:
        check_move(current, target)
    assert caught.value.reason == "JOB_STATE"


@pytest.mark.parametrize("state", JobState)
def test_ends_are_final(state: JobState) -> None:
    assert state.is_terminal == (state in ENDS)
    assert state in MOVES


def test_a_job_that_never_ran_has_no_result() -> None:
    assert not MOVES[QUEUED] & {JobState.SUCCEEDED, JobState.INFEASIBLE}


@pytest.mark.parametrize("state", JobState)
def test_an_end_can_be_reached_from_everywhere(state: JobState) -> None:
    assert state.is_terminal or MOVES[state] & ENDS
