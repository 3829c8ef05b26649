"""The one wrapper around every RPC: request id, log line, access, validation and errors, for unary calls and streams alike.

Order, from the outside in: let the caller in, before anything of a request is received; bind the request id to the log context,
log the outcome and audit it, map errors, validate each request, check its project, call the service.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError, Message
from grpc_status import rpc_status

from secateur.core.errors import InvalidArgument, PermissionDenied, Unauthenticated
from secateur.server import chunks, errors, validation
from secateur.server.access import Access, Admission
from secateur.server.probes import Probes
from secateur.server.threads import OWNER
from secateur.store.records import AuditRecord

_Received: TypeAlias = Message | memoryview | DecodeError
"""A request as it comes from the wire: a message, a chunk of an upload, or noise."""

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
"""Context of one RPC, as services receive it."""

REQUEST_ID: Final = "x-request-id"
"""Metadata key of the request id, received from the client if it sends one and always returned in the trailing metadata."""

_OPEN: Final = "/grpc.health."
"""Start of the names of methods that anybody may call: health probes. All others are wrapped."""

_REQUEST_ID_FORM: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_UNREAD_BYTES: Final = 32 * 2**20
_UNREAD_BYTES_OF_STRANGERS: Final = 4 * 2**20
_UNREAD_SECONDS: Final = 10.0
_QUIET_SECONDS: Final = 0.2
"""A refused client may still be sending: how much of that is read (of one that may not call at all, no more than the longest
single message), for how long, and after what silence it is taken to be done."""
_LEAST_BYTES: Final = 1024
"""Least size that a message counts with there: reading many small ones takes time, too."""

_FACTORIES: Final = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""Makers of method handlers by (request streams, response streams)."""

_ADMITTED: Final[ContextVar[Admission]] = ContextVar("admitted")
"""The call that was let in: grpc.aio runs interceptors and handler in one task, and knows no other way between them."""

_log = structlog.stdlib.get_logger(__name__)


class RpcInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every RPC; of health probes it only bounds how many there are and how long they take.

    Args:
        access: Lets calls in.
        audit: Told of every call of a known caller that changes something, whatever became of it.
    """

    def __init__(self, access: Access, audit: Callable[[AuditRecord], None]) -> None:
        self._access = access
        self._audit = audit
        self._probes = Probes()
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Returns the wrapped handler of the method that is called."""
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None:
            return None
        if method.startswith(_OPEN):
            return self._probes.bounded(handler)
        # Before the request is received: of strangers nobody knows whether they ever send the rest of theirs.
        admission: Admission | None = None
        try:
            admission = await self._access.admit(method, handler_call_details.invocation_metadata or ())
            admission.check_scope()
        except Exception as error:
            return self._refusing(method, admission, error)
        _ADMITTED.set(admission)
        if method not in self._wrapped:
            self._wrapped[method] = self._wrap(handler, method)
        return self._wrapped[method]

    def _refusing(self, method: str, admission: Admission | None, error: Exception) -> grpc.RpcMethodHandler[Any, Any]:
        async def refuse(requests: Any, context: Context) -> Any:
            async with self._rpc(method, context, requests, admission):
                raise error

        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(refuse, memoryview)
        return handler

    def _wrap(self, handler: Any, method: str) -> grpc.RpcMethodHandler[Any, Any]:
        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        checked: Callable[[Any, Admission], Any] = _checked_stream if handler.request_streaming else _checked

        async def respond(request: Any, context: Context) -> Any:
            admission = _ADMITTED.get()
            async with self._rpc(method, context, request if handler.request_streaming else None, admission):
                response = await behaviour(checked(request, admission), context)
                admission.answered(response)
                if not admission.grant.mutates:  # it may have waited for minutes
                    await admission.check_still_valid()
                return response

        async def stream(request: Any, context: Context) -> AsyncGenerator[Any, None]:
            admission = _ADMITTED.get()
            async with (
                self._rpc(method, context, request if handler.request_streaming else None, admission),
                aclosing(behaviour(checked(request, admission), context)) as responses,
            ):
                async for response in responses:
                    await admission.check_still_valid()
                    yield response

        factory: Any = _FACTORIES[handler.request_streaming, handler.response_streaming]
        wrapped: grpc.RpcMethodHandler[Any, Any] = factory(
            stream if handler.response_streaming else respond,
            request_deserializer=_decoder(handler.request_deserializer, chunks.FIELDS.get(method)),
            response_serializer=handler.response_serializer,
        )
        return wrapped

    @asynccontextmanager
    async def _rpc(
        self, method: str, context: Context, requests: AsyncIterator[_Received] | None, admission: Admission | None
    ) -> AsyncGenerator[None, None]:
        request_id = _request_id(context)
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        started = time.perf_counter()
        outcome: dict[str, str] = {"status": grpc.StatusCode.OK.name}
        if admission is not None:
            OWNER.set(admission.principal.project or admission.principal.token)
        with structlog.contextvars.bound_contextvars(request_id=request_id, method=method):
            try:
                if admission is not None:
                    await admission.check_still_valid()  # the request may have come long after the call began
                yield
            except Exception as error:
                if admission is not None:
                    admission.locate(error)
                status = errors.status_of(error, request_id=request_id)
                outcome = {"status": errors.code_of(error).name, "error": status.message}
                if errors.code_of(error) is grpc.StatusCode.INTERNAL:
                    _log.exception("an RPC met a defect")
                if requests is not None:
                    may_not_call = isinstance(error, Unauthenticated | PermissionDenied)
                    await _hear_out(requests, _UNREAD_BYTES_OF_STRANGERS if may_not_call else _UNREAD_BYTES)
                await _abort(context, rpc_status.to_status(status), request_id)
            except BaseException:  # the client went away, or its deadline passed
                outcome = {"status": grpc.StatusCode.CANCELLED.name}
                raise
            finally:
                if admission is not None and admission.principal.token:
                    outcome["token"] = admission.principal.token
                _log.info("rpc", **outcome, duration_ms=round((time.perf_counter() - started) * 1000, 1))
                if admission is not None and admission.grant.mutates:
                    self._audit(_record(admission, method, request_id, outcome["status"]))


def _record(admission: Admission, method: str, request_id: str, code: str) -> AuditRecord:
    return AuditRecord(
        time=datetime.now(UTC),
        token=admission.principal.token,
        project=admission.project,
        method=method,
        resource=admission.resource,
        code=code,
        request_id=request_id,
    )


async def _abort(context: Context, status: grpc.Status, request_id: str) -> None:
    # grpc.aio has no working abort_with_status, and abort() replaces the trailing metadata: the request id goes along.
    await context.abort(status.code, status.details, (*status.trailing_metadata, (REQUEST_ID, request_id)))


async def _hear_out(requests: AsyncIterator[_Received], unread: int) -> None:
    """Reads what a client is still sending, up to about so many bytes.

    If a call ends while grpc.aio writes a request to it, the client gets INTERNAL in the place of the refusal.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_UNREAD_SECONDS):
            while unread > 0:
                async with asyncio.timeout(_QUIET_SECONDS):
                    request = await anext(requests, None)
                match request:
                    case memoryview():
                        unread -= max(len(request), _LEAST_BYTES)
                    case Message():
                        unread -= max(request.ByteSize(), _LEAST_BYTES)
                    case _:  # the end, or noise
                        return


def _request_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID and isinstance(value, str) and _REQUEST_ID_FORM.fullmatch(value):
            return value
    return str(uuid.uuid4())


def _decoder(decode: Callable[[bytes], Message], chunk_field: int | None) -> Callable[[bytes], _Received]:
    """Returns a decoder that returns the error for bytes that are no message: if it raised, grpc would answer UNKNOWN."""

    def attempt(wire: bytes) -> _Received:
        if chunk_field is not None and (chunk := chunks.chunk_of(wire, chunk_field)) is not None:
            return chunk
        try:
            return decode(wire)
        except DecodeError as error:
            return error

    return attempt


def _checked(request: Message | DecodeError, admission: Admission) -> Message:
    if isinstance(request, DecodeError):
        raise InvalidArgument(
            "REQUEST_MALFORMED", "These bytes are not a message of this method; send what its .proto file says. Received: noise"
        ) from request
    validation.check(request)
    admission.check(request)
    return request


async def _checked_stream(requests: AsyncIterator[_Received], admission: Admission) -> AsyncIterator[Message | memoryview]:
    async for request in requests:
        await admission.check_still_valid()
        yield request if isinstance(request, memoryview) else _checked(request, admission)
