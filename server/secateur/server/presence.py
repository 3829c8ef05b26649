"""Which workers are there: those that answer over the broker, and those that the database says have a job."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from secateur.core.errors import Unavailable
from secateur.core.routing import Need
from secateur.server.broker import lost_errors, make_celery
from secateur.store import Store


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker.

    Args:
        name: Its name, `SECATEUR_WORKER_NAME`.
        queues: What it takes, sorted; None if it does not answer.
        jobs: Resource names of the jobs that it has.
    """

    name: str
    queues: tuple[str, ...] | None
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is there.

    Args:
        workers: The workers by name; those of one name are one.
        namesakes: How many workers answer by each name that more than one has.
        stranded: How many jobs wait in each queue that no worker which answers takes.
    """

    workers: tuple[WorkerState, ...]
    namesakes: dict[str, int]
    stranded: dict[Need, int]


def look_around(store: Store, broker_url: str, *, seconds: float) -> Presence:
    """Asks all workers what they take.

    Args:
        store: Where jobs are.
        broker_url: Redis, as Celery writes it.
        seconds: How long to wait for answers; nobody knows how many there will be.

    Raises:
        Unavailable: BROKER_UNAVAILABLE, if Redis cannot be reached.
    """
    app = make_celery(broker_url)
    try:
        replies = app.control.broadcast("active_queues", reply=True, timeout=seconds) or []
    except lost_errors(app) as error:
        raise Unavailable(
            "BROKER_UNAVAILABLE", f"Redis cannot be reached, so no worker can answer; check SECATEUR_REDIS_URL: {error}"
        ) from error
    finally:
        app.close()
    answers = [(node.partition("@")[2], queues) for reply in replies for node, queues in reply.items()]
    taken: dict[str, set[str]] = {}
    for name, queues in answers:
        taken.setdefault(name, set()).update(queue["name"] for queue in queues)
    with store.snapshot() as work:
        held, waiting = work.jobs.held(), work.jobs.waiting()
    workers = tuple(
        WorkerState(name, tuple(sorted(taken[name])) if name in taken else None, tuple(held.get(name, ())))
        for name in sorted(taken.keys() | held.keys())
    )
    served = {queue for queues in taken.values() for queue in queues}
    namesakes = {name: count for name, count in sorted(Counter(name for name, _ in answers).items()) if count > 1}
    return Presence(workers, namesakes, {need: jobs for need, jobs in sorted(waiting.items()) if need.value not in served})
