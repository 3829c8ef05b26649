"""Runs jobs through a deployment that is being broken, and checks what is left: `python -m tests.chaos.run --seed 1`.

Server, workers, their children, Redis and PostgreSQL are killed and paused at random, messages are duplicated and dropped, and
the clocks of the workers are an hour and a half apart. The same seed gives the same jobs and the same sequence of faults.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final

from sqlalchemy import func, select

from secateur.client import Client, Target, Zoo
from secateur.core.errors import Unavailable
from secateur.core.jobs import JobState
from secateur.store import Store
from secateur.store.ages import Ages
from secateur.store.clock import utc_now
from secateur.store.gc import Collector
from secateur.store.tables import JobRow
from tests.chaos.checks import Ended, check
from tests.chaos.cluster import SKEWS, Cluster, cluster
from tests.chaos.faults import Faults

_NETWORK: Final = Zoo("resnet20", input_shape=(8, 8, 1), classes=10)
_TARGET: Final = Target(profile="stm32f746", macs="20%")
_WATCHED: Final = 4
"""Jobs that a client follows from their first event to their last."""
_LONGEST_SECONDS: Final = 1_800.0


@dataclass(frozen=True)
class Outcome:
    """A run.

    Args:
        ended: How the jobs came out.
        faults: Faults by kind.
        seconds: How long it took.
    """

    ended: Ended
    faults: dict[str, int]
    seconds: float


def run(folder: Path, *, database: str, jobs: int, seed: int, seconds_between: float, most_faults: float = math.inf) -> Outcome:
    """Runs the jobs and returns what was counted; fails if anything is not as it must be.

    Args:
        folder: Where everything goes; empty.
        database: "postgresql" or "sqlite".
        jobs: How many jobs.
        seed: Seed of jobs and faults.
        seconds_between: Mean time between two faults.
        most_faults: How many faults to try; after that everything is left to recover.
    """
    started = time.monotonic()
    with cluster(folder, database) as made, ThreadPoolExecutor() as threads, closing(made.store()) as store:
        faults = Faults(made, seed)
        over = threading.Event()
        with made.client() as client:
            working = threads.submit(_submit_and_wait, client, store, jobs, seed, over)
            watching = threads.submit(_watch, client, over)
            try:
                while not working.done():
                    assert time.monotonic() - started < _LONGEST_SECONDS, _unfinished(made, faults)
                    faults.step(seconds_between, most_faults)
                    time.sleep(0.05)
            finally:
                faults.stop()
                over.set()
            watching.result()
        made.down()
        made.remove_temporary_files()
        _collect_garbage(store, folder / "blobs")
        ended = check(store, folder / "blobs", working.result())
    return Outcome(ended, dict(faults.counts), time.monotonic() - started)


def _collect_garbage(store: Store, blobs: Path) -> None:
    """Sweeps as the server will in the days to come."""
    ages = Ages()
    for days in (2, 4):
        Collector(store, blobs.as_uri(), ages, clock=lambda days=days: utc_now() + timedelta(days=days)).sweep()  # type: ignore[misc]


def _submit_and_wait(client: Client, store: Store, jobs: int, seed: int, over: threading.Event) -> list[str]:
    draw = Random(seed)
    names = []
    for number in range(jobs):
        targets = [_TARGET] * draw.choice((1, 1, 2))
        names.append(client.submit(_NETWORK, dataset="digits", targets=targets, epochs=draw.randint(1, 6), seed=number).name)
    while _unfinished_jobs(store) != 0 and not over.wait(0.3):
        pass
    return names


def _unfinished_jobs(store: Store) -> int | None:
    """Returns how many jobs have not ended; None if that cannot be found out now."""
    ongoing = select(func.count()).where(JobRow.state.in_([JobState.QUEUED, JobState.RUNNING]))
    try:
        with store.unit_of_work() as work:
            return work.session.scalars(ongoing).one()
    except Unavailable:
        return None


def _watch(client: Client, over: threading.Event) -> None:
    """Follows jobs, one after the other, and sees that their streams have no gap and no repeat whatever breaks."""
    seen: set[str] = set()
    while len(seen) < _WATCHED and not over.is_set():
        for job in client.jobs():
            if job.name not in seen and not job.done and len(seen) < _WATCHED:
                seen.add(job.name)
                sequences = [event.sequence for event in job.watch()]
                assert sequences == list(range(1, len(sequences) + 1)), f"the stream of {job.name}: {sequences}"
        over.wait(0.2)


def _unfinished(made: Cluster, faults: Faults) -> str:
    logs = "\n".join(f"== {name}\n{made.log(name)[-2000:]}" for name in ("server", *SKEWS))
    return f"jobs are left after {_LONGEST_SECONDS} s; faults {dict(faults.counts)}\n{logs}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--seconds-between", type=float, default=1.5, help="mean time between two faults")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="secateur-chaos-"))
    print(f"logs until it succeeds: {folder}")
    outcome = run(
        folder,
        database=arguments.database,
        jobs=arguments.jobs,
        seed=arguments.seed,
        seconds_between=arguments.seconds_between,
    )
    shutil.rmtree(folder)
    ended = outcome.ended
    print(f"seed {arguments.seed}, {arguments.database}: {arguments.jobs} jobs in {outcome.seconds:.0f} s")
    for title, counts in (("faults", outcome.faults), ("jobs", ended.states), ("jobs by attempts", ended.attempts)):
        print(f"{title + ':':18}" + ", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
    print(f"{'checked:':18}{ended.events} events, {ended.blobs} blobs")


if __name__ == "__main__":
    main()
