"""Sends messages made from descriptors to every RPC of a server, many at once, and judges what comes back."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
import psutil
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from google.rpc import error_details_pb2, status_pb2

from secateur.server.app import SERVICES
from secateur.server.errors import DOMAIN
from tests.support.fuzz import MessageMaker

CONCURRENT: Final = 16
"""Calls that are under way at one time."""

_CALL_SECONDS: Final = 60.0
_WAIT_SECONDS: Final = 0.25
"""Deadline of a call that waits for what may never come: one whose answers stream, and that for the end of a job."""
_WAIT: Final = "WaitJob"
_MOST_ANSWERS: Final = 20
_WARM_SHARE: Final = 0.3
"""Share of the messages after which the server is taken to have grown as large as it has to be."""

_DETAILS: Final = "grpc-status-details-bin"
_REASON: Final = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
_TRACE: Final = re.compile(r"Traceback|File \"|\.py\b|sqlalchemy|psycopg|sqlite3|<class|object at 0x", re.IGNORECASE)
_CUT_OFF: Final = "Internal error from Core"
"""What grpc.aio itself says on the client where the server has answered before the last request was sent."""
_DEFECTS: Final = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED})


@dataclass
class Report:
    """What came of a run.

    Args:
        outcomes: How often each reason came back, by method; "OK" for an answer, "DEADLINE" for a call that goes on waiting.
        failures: What must not happen, one line each, with the messages in hexadecimal.
        grown_bytes: By how much the memory of the server grew once it was warm.
        grown_handles: The same of its file handles.
    """

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    grown_bytes: int = 0
    grown_handles: int = 0

    @property
    def messages(self) -> int:
        """Calls in all."""
        return sum(counter.total() for counter in self.outcomes.values())


def methods() -> list[MethodDescriptor]:
    """Returns every RPC of the API."""
    return [method for name in SERVICES for method in Default().FindServiceByName(name).methods]


async def fuzz(address: str, server: psutil.Process, *, messages: int, seed: int, texts: list[str]) -> Report:
    """Makes so many calls, evenly spread over the methods.

    Args:
        address: Where the server listens.
        server: Its process.
        messages: Calls in all.
        seed: Seed of the messages.
        texts: What the server knows, see `MessageMaker`.
    """
    draw = random.Random(seed)
    maker = MessageMaker(draw, texts)
    report = Report({method.full_name: Counter() for method in methods()})
    every = methods()
    async with grpc.aio.insecure_channel(address) as channel:
        for share, warm in ((_WARM_SHARE, True), (1 - _WARM_SHARE, False)):
            calls = iter(range(round(messages * share)))
            memory, handles = _rss(server), server.num_fds()

            async def sender(calls: Any = calls) -> None:
                for _ in calls:
                    await _call(channel, draw.choice(every), draw, maker, report)

            await asyncio.gather(*(sender() for _ in range(CONCURRENT)))
            if not warm:
                report.grown_bytes, report.grown_handles = _rss(server) - memory, server.num_fds() - handles
    return report


async def _call(
    channel: grpc.aio.Channel, method: MethodDescriptor, draw: random.Random, maker: MessageMaker, report: Report
) -> None:
    count = draw.choice((0, 1, 1, 2, 2, 4)) if method.client_streaming else 1
    wire = [maker.request(method.input_type) for _ in range(count)]
    while (outcome := await _outcome(channel, method, wire)) == _CUT_OFF:
        pass
    report.outcomes[method.full_name][outcome] += 1
    if " " in outcome:
        report.failures.append(f"{method.full_name}: {outcome}; sent {[part.hex()[:2000] for part in wire]}")


async def _outcome(channel: grpc.aio.Channel, method: MethodDescriptor, wire: list[bytes]) -> str:
    """Returns the reason of the answer; a sentence if it is one that no request may bring about."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    open_call: Callable[..., Any] = getattr(channel, kind)(path)
    may_wait = method.server_streaming or method.name == _WAIT
    timeout = _WAIT_SECONDS if may_wait else _CALL_SECONDS
    call = open_call(_stream(wire) if method.client_streaming else wire[0], timeout=timeout)
    try:
        if method.server_streaming:
            answers = 0
            async for _ in call:
                answers += 1
                if answers == _MOST_ANSWERS:
                    call.cancel()
                    break
        else:
            await call
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and may_wait:
            return "DEADLINE"
        return _CUT_OFF if error.details() == _CUT_OFF else _judge(error)
    return "OK"


async def _stream(wire: list[bytes]) -> AsyncIterator[bytes]:
    for part in wire:
        yield part


def _judge(error: grpc.aio.AioRpcError) -> str:
    said = f"{error.code().name}: {error.details()}"
    details = dict(error.trailing_metadata() or ()).get(_DETAILS, b"")
    status = status_pb2.Status.FromString(details if isinstance(details, bytes) else b"")
    info = error_details_pb2.ErrorInfo()
    if error.code() in _DEFECTS:
        return f"a defect, {said}"
    if not status.details or not status.details[0].Unpack(info):
        return f"no ErrorInfo, {said}"
    if info.domain != DOMAIN or not _REASON.fullmatch(info.reason):
        return f"an odd reason {info.reason!r} of {info.domain!r}, {said}"
    if _TRACE.search(str(error.details())) or _TRACE.search(str(info)):
        return f"a trace of the code, {said}"
    return str(info.reason)


def _rss(process: psutil.Process) -> int:
    return int(process.memory_info().rss)
