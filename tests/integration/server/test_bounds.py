"""What one caller, or a stranger, cannot do to all others: hold every thread, every watch, or memory without end."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from typing import Any, Final

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from secateur.core.access import Scope
from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph
from secateur.core.graph.assembly import Builder
from secateur.server import names, probes
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.v1 import job_service_pb2 as jobs
from secateur.v1 import plan_service_pb2 as plans
from tests.support.access import authorized, issue
from tests.support.server import DATASET, PATIENCE_S, Api, limit, refusal, running, target
from tests.support.stack import until

SLOW: Final = plans.PlanPolicy(step=1e-4)
SECONDS: Final = 8.0
THREADS: Final = 4
MIB: Final = 2**20
PROBES: Final = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch")


@pytest.fixture(scope="module")
def address(settings: ServerSettings) -> Iterator[str]:
    """Address of a server that asks for tokens and soon ends a plan."""
    chosen = {"authentication": "tokens", "plan_seconds": SECONDS, "handler_threads": THREADS, "token_cache_seconds": 0.5}
    with running(settings.model_copy(update=chosen)) as server:
        yield server.address


@pytest.fixture(scope="module")
def guarded(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as channel:
        yield channel


def operator(guarded: grpc.Channel, store: Store) -> Api:
    """Stubs of an operator of a new project."""
    project = f"p-{uuid.uuid4().hex[:12]}"
    return Api(authorized(guarded, issue(store, Scope.OPERATOR, project)), project)


def keep(store: Store, api: Api, graph: LayerGraph) -> str:
    with store.unit_of_work() as work:
        work.architectures.put(api.project, graph, cost_of(graph), display_name="")
        work.commit()
    return names.architecture(api.project, graph.digest)


def deep() -> LayerGraph:
    """A network of many wide layers, which takes minutes to plan channel by channel."""
    net = Builder("deep", (8, 8, 1))
    for number in range(600):
        net.add("Conv2D", f"conv{number}", filters=500, kernel_size=1)
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10)
    return net.build()


def test_a_plan_that_takes_too_long_is_refused_with_what_helps(guarded: grpc.Channel, store: Store) -> None:
    api = operator(guarded, store)
    architecture = keep(store, api, deep())
    asked: dict[str, Any] = {"architecture": architecture, "targets": [target(limit(fraction=0.01))], "policy": SLOW}
    quoting = api.plans.Quote.future(plans.QuoteRequest(**asked))
    creating = api.jobs.CreateJob.future(jobs.CreateJobRequest(parent=api.parent, job=api.job(**asked)))

    quoted, created = refusal(quoting.result), refusal(creating.result)
    assert (quoted.code, quoted.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "PLAN_TIME_EXCEEDED")
    assert "step" in quoted.message
    assert created.reason == "PLAN_TIME_EXCEEDED"


def test_the_plans_of_one_project_do_not_keep_out_another(guarded: grpc.Channel, store: Store) -> None:
    greedy, other = operator(guarded, store), operator(guarded, store)
    architecture = keep(store, greedy, deep())
    request = plans.QuoteRequest(architecture=architecture, targets=[target(limit(fraction=0.01))], policy=SLOW)
    wanted = other.job()
    for call in [greedy.plans.Quote.future(request, timeout=1.0) for _ in range(2 * THREADS)]:
        assert call.exception() is not None  # and what has begun goes on
    waiting: list[Any] = [greedy.plans.Quote.future(request) for _ in range(2 * THREADS)]
    slow_job = jobs.Job(architecture=architecture, dataset=DATASET, targets=request.targets, policy=SLOW)
    waiting.append(greedy.jobs.CreateJob.future(jobs.CreateJobRequest(parent=greedy.parent, job=slow_job)))

    other.jobs.ListJobs(jobs.ListJobsRequest(parent=other.parent))
    other.jobs.CreateJob(jobs.CreateJobRequest(parent=other.parent, job=wanted))
    answered_before = [call.done() for call in waiting]

    for call in waiting:
        call.cancel()
    assert not any(answered_before)


def test_one_project_cannot_have_every_watch(api: Api, settings: ServerSettings) -> None:
    job = api.create_job()
    with (
        running(settings.model_copy(update={"max_watches": 4})) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        greedy, other = Api(channel, api.project), Api(channel, f"{api.project}-other")
        streams = [greedy.watch(job) for _ in range(3)]
        assert [next(stream).sequence for stream in streams] == [1, 1, 1]

        assert refusal(lambda: next(greedy.watch(job))).reason == "WATCH_LIMIT"
        others = other.create_job()
        stream = other.watch(others)
        assert next(stream).sequence == 1
        assert refusal(lambda: next(other.watch(others))).reason == "WATCH_LIMIT"


@pytest.mark.parametrize("method", ["/secateur.v1.JobService/GetJob", "/secateur.v1.ModelService/DownloadArtifact"])
def test_a_stranger_is_refused_before_the_request_has_come(address: str, method: str) -> None:
    assert answered(address, method)


def test_a_probe_that_does_not_come_is_not_waited_for(address: str) -> None:
    with ThreadPoolExecutor() as callers:
        assert all(callers.map(partial(answered, address), PROBES))


@pytest.mark.parametrize("method", PROBES)
def test_a_probe_without_a_request_is_refused(address: str, method: str) -> None:
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as refused:
        list(channel.stream_stream(method)(iter(())))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_only_so_many_probes_are_watched(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(probes.MAX_WATCHES)]
        assert {next(watch).status for watch in watches} == {health_pb2.HealthCheckResponse.SERVING}

        with pytest.raises(grpc.RpcError) as refused:
            next(stub.Watch(health_pb2.HealthCheckRequest()))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        for watch in watches:
            watch.cancel()

        def there_is_room() -> bool:
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            with suppress(grpc.RpcError):
                next(watch)
            return bool(watch.cancel())  # no, if it has ended

        until(there_is_room, "who watches no more makes room")


def answered(address: str, method: str) -> bool:
    """Calls a method as gRPC does, sends the start of a request of 1 MiB and no more, and tells whether it is answered."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "x",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
    host, _, port = address.rpartition(":")
    with closing(socket.create_connection((host, int(port)))) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0) + _frame(1, 4, 1, block))
        connection.sendall(_frame(0, 0, 1, b"\0" + MIB.to_bytes(4, "big") + os.urandom(16_000)))
        reader, end = connection.makefile("rb"), time.monotonic() + PATIENCE_S
        while (left := end - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                head = reader.read(9)
                if len(head) < 9:
                    return False
                reader.read(int.from_bytes(head[:3], "big"))
            except TimeoutError:
                return False
            if head[3] == 1 and int.from_bytes(head[5:], "big") == 1:  # headers of our call
                return True
    return False


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
