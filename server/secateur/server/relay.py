"""The relay: sends what the outbox owes to Celery. Producer only; worker code is never imported."""

from __future__ import annotations

import time
from typing import Final

import structlog

from secateur.core.jobs import COMPRESS_TASK
from secateur.core.routing import Need
from secateur.server.broker import lost_errors, make_celery
from secateur.store import Store

_BATCH: Final = 100
_ENOUGH: Final = 500
"""Messages that wait in a queue at most. A message wakes an idle worker, which goes on until no job is left for it: with more
jobs than that there is nobody left to wake. A larger fleet that is idle is woken in rounds."""

_log = structlog.stdlib.get_logger(__name__)


class Relay:
    """Sends queue messages after the commit that owes them, each to the queue named after what its job needs.

    A message is marked as sent once the broker has it. A crash in between sends it twice, which does no harm: the job's row
    decides who runs. While the broker is away, or a queue has enough messages, they stay owed.

    Args:
        store: Where the outbox is.
        broker_url: Celery's broker.
        rest_seconds: How long to leave messages owed that found a queue with enough of them.
    """

    def __init__(self, store: Store, broker_url: str, *, rest_seconds: float) -> None:
        self._store = store
        self._rest_seconds = rest_seconds
        self._rest_until = 0.0
        self._celery = make_celery(broker_url)
        self._lost: Final = lost_errors(self._celery)
        self._broker_lost = False

    def send_owed(self) -> None:
        """Sends every message that is owed, as far as its queue has room."""
        if time.monotonic() < self._rest_until:
            return
        for need in Need:
            while self._send_batch(need) == _BATCH:
                pass

    def close(self) -> None:
        """Closes the connections to the broker."""
        self._celery.close()

    def _send_batch(self, need: Need) -> int:
        with self._store.snapshot() as work:
            owed = work.outbox.unsent(need, _BATCH)
        if not owed:
            return 0
        sent: list[int] = []
        try:
            with self._celery.producer_or_acquire() as producer:
                queue = producer.channel.queue_declare(queue=need.value)
                room = max(0, _ENOUGH - queue.message_count)
                if room < len(owed):
                    self._rest_until = time.monotonic() + self._rest_seconds
                for message in owed[:room]:
                    self._celery.send_task(
                        COMPRESS_TASK, args=[message.job_id], queue=need.value, retry=False, producer=producer
                    )
                    sent.append(message.id)
            self._broker_lost = False
        except self._lost as error:
            self._report_lost_broker(error)
        if sent:
            with self._store.unit_of_work() as work:
                work.outbox.mark_sent(sent, work.journal.now())
                work.commit()
        return len(sent)

    def _report_lost_broker(self, error: Exception) -> None:
        if not self._broker_lost:  # once, not every second
            _log.warning("the broker cannot be reached; messages wait in the outbox", error=str(error))
        self._broker_lost = True
