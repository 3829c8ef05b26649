"""The relay: sends what the outbox owes to Celery. Producer only; worker code is never imported."""

from __future__ import annotations

from typing import Final

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from secateur.core.jobs import COMPRESS_TASK
from secateur.store import Store

_BATCH: Final = 100
_TIMEOUT_S: Final = 2.0

_log = structlog.stdlib.get_logger(__name__)


class Relay:
    """Sends queue messages after the commit that owes them, each to the queue named after what its job needs.

    A message is marked as sent once the broker has it. A crash in between sends it twice, which does no harm: the job's row
    decides who runs. While the broker is away, messages stay owed.

    Args:
        store: Where the outbox is.
        broker_url: Celery's broker.
    """

    def __init__(self, store: Store, broker_url: str) -> None:
        self._store = store
        self._celery = Celery("secateur-server", broker=broker_url, set_as_current=False)
        self._celery.conf.update(
            task_ignore_result=True,
            broker_transport_options={
                "max_retries": 0,  # the next call of `send_owed` is the retry
                "socket_connect_timeout": _TIMEOUT_S,
                "socket_timeout": _TIMEOUT_S,
            },
        )
        self._broker_lost = False

    def send_owed(self) -> None:
        """Sends every message that is owed."""
        while self._send_batch() == _BATCH:
            pass

    def close(self) -> None:
        """Closes the connections to the broker."""
        self._celery.close()

    def _send_batch(self) -> int:
        with self._store.snapshot() as work:
            owed = work.outbox.unsent(_BATCH)
        sent: list[int] = []
        try:
            with self._celery.producer_or_acquire() as producer:
                for message in owed:
                    self._celery.send_task(
                        COMPRESS_TASK, args=[message.job_id], queue=message.need.value, retry=False, producer=producer
                    )
                    sent.append(message.id)
            if sent:
                self._broker_lost = False
        except OperationalError as error:
            self._report_lost_broker(error)
        if sent:
            with self._store.unit_of_work() as work:
                work.outbox.mark_sent(sent, work.journal.now())
                work.commit()
        return len(sent)

    def _report_lost_broker(self, error: OperationalError) -> None:
        if not self._broker_lost:  # once, not every second
            _log.warning("the broker cannot be reached; messages wait in the outbox", error=str(error))
        self._broker_lost = True
