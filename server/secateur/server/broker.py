"""The broker as the server uses it: to send messages, and to ask the workers."""

from __future__ import annotations

from typing import Final

from celery import Celery
from kombu.exceptions import OperationalError

_TIMEOUT_S: Final = 2.0
"""How long the broker may take to answer."""


def make_celery(broker_url: str) -> Celery:
    """Returns an application that sends to the broker and gives up soon where that is away.

    Args:
        broker_url: Redis, as Celery writes it.
    """
    app = Celery("secateur-server", broker=broker_url, set_as_current=False)
    # CELERY_BROKER_URL, which may be another program's, has no say.
    app.conf.update(broker_read_url=broker_url, broker_write_url=broker_url)
    app.conf.broker_transport_options = {
        "max_retries": 0,  # whoever asks decides when to try again
        "socket_connect_timeout": _TIMEOUT_S,
        "socket_timeout": _TIMEOUT_S,
    }
    return app


def lost_errors(app: Celery) -> tuple[type[Exception], ...]:
    """Returns what is raised where the broker is away."""
    return (OperationalError, *app.connection_for_write().recoverable_connection_errors)
