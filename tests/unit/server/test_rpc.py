"""The wrapper around every RPC, over a real channel, for calls of all four shapes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from secateur.core.access import Scope
from secateur.core.errors import NotFound
from secateur.server.access import Access
from secateur.server.authentication import NoAuthentication
from secateur.server.grants import Grant
from secateur.server.rpc import Context, RpcInterceptor
from secateur.store.records import AuditRecord
from secateur.v1 import job_service_pb2

Get: TypeAlias = job_service_pb2.GetJobRequest
Job: TypeAlias = job_service_pb2.Job

GOOD = Get(name="projects/default/jobs/1")
BAD = Get(name="nonsense")
SHAPES = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
GRANTS = {f"/secateur.test.Echo/{shape}": Grant(frozenset(Scope), ("name",)) for shape in SHAPES}


class Echo:
    """Answers every request with a job of that name; raises `error` first if there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = asyncio.Event()

    def _answer(self, request: Get) -> Job:
        if self.error is not None:
            raise self.error
        return Job(name=request.name)

    async def unary_unary(self, request: Get, context: Context) -> Job:
        return self._answer(request)

    async def unary_stream(self, request: Get, context: Context) -> AsyncIterator[Job]:
        try:
            yield self._answer(request)
            if request.name.endswith("/2"):
                await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def stream_unary(self, requests: AsyncIterator[Get], context: Context) -> Job:
        return [self._answer(request) async for request in requests][-1]

    async def stream_stream(self, requests: AsyncIterator[Get], context: Context) -> AsyncIterator[Job]:
        async for request in requests:
            yield self._answer(request)


def _nothing(record: AuditRecord) -> None:
    raise AssertionError(f"No echo changes anything. Received: {record}")


@asynccontextmanager
async def channel_to(echo: Echo, grants: Mapping[str, Grant]) -> AsyncIterator[grpc.aio.Channel]:
    methods = {
        shape: getattr(grpc, f"{shape}_rpc_method_handler")(
            getattr(echo, shape), request_deserializer=Get.FromString, response_serializer=Job.SerializeToString
        )
        for shape in SHAPES
    }
    server = grpc.aio.server(interceptors=[RpcInterceptor(Access(NoAuthentication(), grants), audit=_nothing)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("secateur.test.Echo", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


def start(channel: grpc.aio.Channel, shape: str, *requests: Get, **options: Any) -> Any:
    method: Any = getattr(channel, shape)(
        f"/secateur.test.Echo/{shape}", request_serializer=Get.SerializeToString, response_deserializer=Job.FromString
    )
    return method(iter(requests) if shape.startswith("stream") else requests[0], **options)


async def finish(shape: str, call: Any) -> list[Job]:
    return [job async for job in call] if shape.endswith("stream") else [await call]


def run(echo: Echo, test: Callable[[grpc.aio.Channel], Awaitable[None]], grants: Mapping[str, Grant] = GRANTS) -> None:
    async def main() -> None:
        async with channel_to(echo, grants) as channel:
            await test(channel)

    asyncio.run(main())


async def failure(shape: str, call: Any) -> tuple[grpc.aio.AioRpcError, error_details_pb2.ErrorInfo]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await finish(shape, call)
    error: Any = caught.value
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return caught.value, info


@pytest.mark.parametrize("shape", SHAPES)
def test_a_good_call_is_answered_and_names_its_request_id(shape: str) -> None:
    async def test(channel: grpc.aio.Channel) -> None:
        call = start(channel, shape, GOOD, metadata=(("x-request-id", "abc-1"),))
        assert await finish(shape, call) == [Job(name=GOOD.name)]
        assert ("x-request-id", "abc-1") in tuple(await call.trailing_metadata())

    run(Echo(), test)


@pytest.mark.parametrize("sent", [(), (("x-request-id", 'forged "line"'),), (("x-request-id", "x" * 200),)])
def test_a_request_id_is_made_where_none_that_fits_is_sent(sent: tuple[tuple[str, str], ...]) -> None:
    async def test(channel: grpc.aio.Channel) -> None:
        call = start(channel, "unary_unary", GOOD, metadata=sent)
        await call
        (made,) = [value for key, value in await call.trailing_metadata() if key == "x-request-id"]
        assert len(made) == 36
        assert made not in [value for _, value in sent]

    run(Echo(), test)


@pytest.mark.parametrize("shape", SHAPES)
def test_bytes_that_are_no_message_are_the_callers_mistake(shape: str) -> None:
    async def test(channel: grpc.aio.Channel) -> None:
        method: Any = getattr(channel, shape)(f"/secateur.test.Echo/{shape}")
        noise = b"\xff\xff"
        error, info = await failure(shape, method(iter([noise]) if shape.startswith("stream") else noise))
        assert (error.code(), info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")

    run(Echo(), test)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_request_that_breaks_a_rule_is_refused_with_every_violation(shape: str) -> None:
    async def test(channel: grpc.aio.Channel) -> None:
        requests = (GOOD, BAD) if shape.startswith("stream") else (BAD,)
        error, info = await failure(shape, start(channel, shape, *requests))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (info.reason, info.metadata["field"]) == ("REQUEST_INVALID", "name")

    run(Echo(), test)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_domain_error_keeps_its_reason_and_the_request_id(shape: str) -> None:
    async def test(channel: grpc.aio.Channel) -> None:
        call = start(channel, shape, GOOD, metadata=(("x-request-id", "abc-1"),))
        error, info = await failure(shape, call)
        assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "There is no such job")
        assert (info.reason, info.domain) == ("JOB_NOT_FOUND", "secateur")
        assert ("x-request-id", "abc-1") in tuple(error.trailing_metadata())

    run(Echo(NotFound("JOB_NOT_FOUND", "There is no such job")), test)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_defect_is_logged_with_its_traceback_and_leaks_nothing(shape: str) -> None:
    async def test(channel: grpc.aio.Channel) -> None:
        error, info = await failure(shape, start(channel, shape, GOOD, metadata=(("x-request-id", "abc-1"),)))
        assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "Internal server error.")
        assert (info.reason, dict(info.metadata)) == ("INTERNAL", {"request_id": "abc-1"})
        assert "hunter2" not in repr(tuple(error.trailing_metadata()))

    with structlog.testing.capture_logs() as logs:
        run(Echo(RuntimeError("the password is hunter2")), test)

    (defect,) = [line for line in logs if line["event"] == "an RPC met a defect"]
    assert defect["exc_info"] is True


@pytest.mark.parametrize("shape", SHAPES)
def test_a_method_that_the_table_does_not_have_is_refused_to_everybody(shape: str) -> None:
    async def test(channel: grpc.aio.Channel) -> None:
        error, info = await failure(shape, start(channel, shape, GOOD))
        assert (error.code(), info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "METHOD_NOT_GRANTED")

    run(Echo(), test, grants={})


@pytest.mark.parametrize("message_bytes", [0, 2**20])
def test_little_is_read_of_a_caller_who_may_not_call_and_sends_on(message_bytes: int) -> None:
    sent = 0

    def requests() -> Iterator[Get]:
        nonlocal sent
        while sent < 100_000 and sent * message_bytes < 2**26:
            sent += 1
            yield Get(name="x" * message_bytes)

    async def test(channel: grpc.aio.Channel) -> None:
        method: Any = channel.stream_unary("/secateur.test.Echo/stream_unary", request_serializer=Get.SerializeToString)
        with pytest.raises(grpc.aio.AioRpcError):
            await method(requests())

    run(Echo(), test, grants={})
    assert sent * max(message_bytes, 1024) < 2**24


def test_the_refusal_of_a_caller_who_may_not_call_reaches_one_that_is_still_writing() -> None:
    async def test(channel: grpc.aio.Channel) -> None:
        for _ in range(60):
            error, _ = await failure("stream_unary", start(channel, "stream_unary", *[Get(name="x" * 2**20)] * 3))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED

    run(Echo(), test, grants={})


def test_every_call_leaves_one_line_with_method_status_and_duration() -> None:
    async def test(channel: grpc.aio.Channel) -> None:
        await start(channel, "unary_unary", GOOD, metadata=(("x-request-id", "abc-1"),))

    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        run(Echo(), test)

    (line,) = logs
    assert line.pop("duration_ms") >= 0
    assert json.loads(json.dumps(line)) == {
        "event": "rpc",
        "log_level": "info",
        "method": "/secateur.test.Echo/unary_unary",
        "request_id": "abc-1",
        "status": "OK",
    }


def test_a_stream_that_the_client_leaves_is_closed_and_logged_as_cancelled() -> None:
    echo = Echo()

    async def test(channel: grpc.aio.Channel) -> None:
        call = start(channel, "unary_stream", Get(name="projects/default/jobs/2"))
        await call.read()
        call.cancel()
        async with asyncio.timeout(60):
            await echo.closed.wait()

    with structlog.testing.capture_logs() as logs:
        run(echo, test)

    assert [line["status"] for line in logs] == ["CANCELLED"]
