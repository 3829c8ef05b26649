"""Which workers are there: those that answer over the broker, and those that the database says have a job."""

from __future__ import annotations

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
    """The workers by name, and how many jobs wait in each queue that no worker which answers takes."""

    workers: tuple[WorkerState, ...]
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
        answers = app.control.inspect(timeout=seconds).active_queues() or {}
    except lost_errors(app) as error:
        raise Unavailable(
            "BROKER_UNAVAILABLE", f"Redis cannot be reached, so no worker can answer; check SECATEUR_REDIS_URL: {error}"
        ) from error
    finally:
        app.close()
    taken = {node.partition("@")[2]: tuple(sorted(queue["name"] for queue in queues)) for node, queues in answers.items()}
    with store.snapshot() as work:
        held, waiting = work.jobs.held(), work.jobs.waiting()
    workers = tuple(
        WorkerState(name, taken.get(name), tuple(held.get(name, ()))) for name in sorted(taken.keys() | held.keys())
    )
    served = {queue for queues in taken.values() for queue in queues}
    return Presence(workers, {need: jobs for need, jobs in sorted(waiting.items()) if need.value not in served})
