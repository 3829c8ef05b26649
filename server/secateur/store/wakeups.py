"""Wake-ups: "something happened to this job, read again". The events themselves are rows; losing a wake-up only costs time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import redis
import redis.asyncio
import structlog

_CHANNEL: Final = "secateur:jobs"
_TIMEOUT_S: Final = 1.0  # a commit must not wait longer for a Redis that is gone
_RECONNECT_DELAY_S: Final = 0.5
_HEALTH_CHECK_S: Final = 5.0

_log = structlog.get_logger(__name__)


class Wakeups:
    """Publishes and receives wake-ups over Redis pub/sub.

    Args:
        redis_url: `redis://`, `rediss://` or `unix://` URL.
    """

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)

    def publish(self, *job_ids: str) -> None:
        """Wakes whoever watches one of the jobs. Never raises for a Redis that cannot be reached: it is logged."""
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for job_id in job_ids:
                    pipeline.publish(_CHANNEL, job_id)
                pipeline.execute()
        except redis.RedisError as error:
            _log.warning("wakeup_lost", error=str(error))

    def close(self) -> None:
        """Closes the publishing connections."""
        self._redis.close()

    async def listen(self) -> AsyncGenerator[str | None, None]:
        """Yields the id of each job that something happened to, for ever; reconnects by itself.

        Yields None whenever a subscription has just begun: what happened before it was not heard, so read everything again.
        Leave the loop through `contextlib.aclosing`, so that the connection closes at once.
        """
        while True:
            client = redis.asyncio.Redis.from_url(
                self._url, socket_connect_timeout=_TIMEOUT_S, health_check_interval=_HEALTH_CHECK_S
            )
            try:
                async with client, client.pubsub() as channel:
                    await channel.subscribe(_CHANNEL)
                    while True:
                        message = await channel.get_message(timeout=_HEALTH_CHECK_S)
                        if message is not None and message["type"] == "subscribe":
                            yield None
                        elif message is not None and message["type"] == "message":
                            yield message["data"].decode()
            except redis.RedisError as error:
                _log.warning("wakeups_reconnecting", error=str(error))
            await asyncio.sleep(_RECONNECT_DELAY_S)
