"""Failures that a test orders, and the requests that it may look at."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

_SILENCE_S: Final = 10.0
_DETAILS: Final = "grpc-status-details-bin"


@dataclass
class Faults:
    """Keeps every request by method name, and fails the next calls of a method as told."""

    requests: dict[str, list[Message]] = field(default_factory=lambda: defaultdict(list))
    silent: set[str] = field(default_factory=set)
    """Methods that do not answer, for longer than a test waits."""
    details: dict[str, bytes] = field(default_factory=dict)
    """Of methods that fail: what is sent in the place of the details."""
    _waiting: dict[str, deque[status_pb2.Status]] = field(default_factory=lambda: defaultdict(deque))

    def fail(
        self,
        method: str,
        code: str = "UNAVAILABLE",
        *,
        times: int = 1,
        reason: str = "",
        message: str = "told to fail",
        field: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Lets the next `times` calls of a method fail; without a reason, without details; with OK they pass."""
        details = []
        if reason:
            details.append(error_details_pb2.ErrorInfo(reason=reason, domain="secateur", metadata=metadata))
        if field:
            violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
            details.append(error_details_pb2.BadRequest(field_violations=[violation]))
        status = status_pb2.Status(code=code_pb2.Code.Value(code), message=message, details=map(_pack, details))
        self._waiting[method].extend([status] * times)

    async def enter(self, method: str, request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Notes a request and fails the call if the test said so."""
        copy = type(request)()
        copy.CopyFrom(request)
        self.requests[method].append(copy)
        if method in self.silent:
            await asyncio.sleep(_SILENCE_S)
        if self._waiting[method]:
            status = self._waiting[method].popleft()
            if status.code != code_pb2.OK:
                await abort(context, status, self.details.get(method))


async def abort(
    context: grpc.aio.ServicerContext[Any, Any], status: status_pb2.Status | None = None, details: bytes | None = None
) -> None:
    """Ends a call with a status; UNAVAILABLE if none is given."""
    status = status or status_pb2.Status(code=code_pb2.UNAVAILABLE, message="connection lost")
    rich = rpc_status.to_status(status)
    context.set_trailing_metadata(rich.trailing_metadata if details is None else ((_DETAILS, details),))
    await context.abort(rich.code, rich.details)


def _pack(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
