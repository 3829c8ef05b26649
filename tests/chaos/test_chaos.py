"""The short form of `make chaos`: every kind of fault once, over a handful of jobs."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.faults import KINDS
from tests.chaos.run import run


def test_whatever_breaks_every_job_ends_once_and_whole(tmp_path: Path) -> None:
    outcome = run(tmp_path, database="postgresql", jobs=4, seed=1, seconds_between=0.5, most_faults=len(KINDS))
    assert outcome.ended.states.total() == 4
    # All but those of messages find something to break, and children may just not be there.
    assert len(outcome.faults) >= len(KINDS) - 4
