"""Health probes: what anybody may call, without a token, and so within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import grpc.aio

MAX_WATCHES: Final = 1_000
"""Most probes that are watched at one time."""

_SECONDS: Final = 5.0
"""How long the request of a probe may take to come."""


class Probes:
    """Bounds how long and how many strangers may make the server wait."""

    def __init__(self) -> None:
        self._watches = 0

    def bounded(self, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
        """Returns a handler that does what another one does, if the request comes in time and not too many watch."""

        async def check(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            return await handler.unary_unary(await _first(requests, context), context)

        async def watch(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> None:
            request = await _first(requests, context)
            if self._watches >= MAX_WATCHES:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many watch the health of this server; ask instead")
            self._watches += 1
            try:
                await handler.unary_stream(request, context)
            finally:
                self._watches -= 1

        make: Any = grpc.stream_stream_rpc_method_handler if handler.unary_stream else grpc.stream_unary_rpc_method_handler
        bounded: grpc.RpcMethodHandler[Any, Any] = make(
            watch if handler.unary_stream else check, handler.request_deserializer, handler.response_serializer
        )
        return bounded


async def _first(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> Any:
    try:
        async with asyncio.timeout(_SECONDS):
            request = await anext(requests, None)
    except TimeoutError:
        request = None
    if request is None:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The request did not come, or not in time")
    return request
