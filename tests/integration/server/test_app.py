"""The server as a whole: probes, reflection, start and stop."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from migrations.upgrade import upgrade
from secateur.client import Client, Retry
from secateur.server import app
from secateur.server.app import SERVICES
from secateur.server.settings import ServerSettings
from secateur.store.startup import StartError, check_migrated
from secateur.v1 import device_profile_service_pb2, device_profile_service_pb2_grpc
from tests.support.server import PATIENCE_S, Api, make_settings, refusal_of, running, server_process
from tests.support.stack import free_port

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_every_service_answers_its_probe(channel: grpc.Channel) -> None:
    probe: Any = health_pb2_grpc.HealthStub(channel)

    assert len(SERVICES) == 6
    for service in ("", *SERVICES):
        assert probe.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING


def test_reflection_describes_the_api(channel: grpc.Channel) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="secateur.v1.JobService"),
    ]

    listed, described = stub.ServerReflectionInfo(iter(requests))

    assert {service.name for service in listed.list_services_response.service} >= set(SERVICES)
    file = descriptor_pb2.FileDescriptorProto.FromString(described.file_descriptor_response.file_descriptor_proto[0])
    assert [service.name for service in file.service] == ["JobService"]


def test_a_message_over_the_limit_is_refused_without_harm(api: Api, settings: ServerSettings) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        api.create_job(display_name="x" * (settings.max_message_bytes + 1))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert api.create_job().name


def test_a_burst_of_calls_is_answered_call_by_call(settings: ServerSettings) -> None:
    """As after an outage: by default gRPC cancels some of what waits behind the first 1,000 calls."""

    async def burst(address: str) -> set[str]:
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = device_profile_service_pb2_grpc.DeviceProfileServiceStub(channel)
            request = device_profile_service_pb2.GetDeviceProfileRequest(name="deviceProfiles/stm32f746")
            return {profile.name for profile in await asyncio.gather(*(stub.GetDeviceProfile(request) for _ in range(1_800)))}

    with running(settings) as server:
        assert asyncio.run(burst(server.address)) == {"deviceProfiles/stm32f746"}


def test_a_call_may_wait_for_a_busy_server_as_long_as_that_says(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default gRPC cancels, without a reason, what waits for 30 seconds."""
    monkeypatch.setattr(app, "MAX_UNSEEN_SECONDS", 1)

    def ask(address: str) -> set[grpc.StatusCode]:
        with grpc.insecure_channel(address) as channel:
            stub: Any = device_profile_service_pb2_grpc.DeviceProfileServiceStub(channel)
            request = device_profile_service_pb2.GetDeviceProfileRequest(name="deviceProfiles/stm32f746")
            return {call.code() for call in [stub.GetDeviceProfile.future(request) for _ in range(5)]}

    async def serve() -> set[grpc.StatusCode]:
        async with app.serving(settings) as address:
            asked = asyncio.get_running_loop().run_in_executor(None, ask, address)
            threading.Event().wait(2.5)
            return await asked

    assert grpc.StatusCode.CANCELLED in asyncio.run(serve())


def test_a_stop_turns_health_and_ends_watches_as_unavailable(settings: ServerSettings) -> None:
    with running(settings) as server, grpc.insecure_channel(server.address) as channel:
        api = Api(channel, "stopping")
        job = api.create_job()
        watch = api.watch(job)
        assert next(watch).sequence == 1
        stub: Any = health_pb2_grpc.HealthStub(channel)
        probe = stub.Watch(health_pb2.HealthCheckRequest(service="secateur.v1.JobService"))
        assert next(probe).status == SERVING

        stopped = time.monotonic()
        server.stop()

        assert next(probe).status == NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            next(watch)
        found = refusal_of(caught.value)
        assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
        # The probe's own stream takes the whole grace period, and would go on for ever.
        assert settings.grace_seconds <= time.monotonic() - stopped < settings.grace_seconds + 30


def test_one_watch_of_a_job_that_waits_outlives_servers_that_come_and_go(settings: ServerSettings) -> None:
    settings = settings.model_copy(update={"listen_address": f"127.0.0.1:{free_port()}", "grace_seconds": 0.1})
    retry = Retry(first_delay=0.05, max_delay=0.1, total=8.0)
    with Client(settings.listen_address, project="patient", retry=retry) as client, ThreadPoolExecutor() as threads:
        with running(settings) as server, grpc.insecure_channel(server.address) as channel:
            job = client.job(Api(channel, "patient").create_job().name)
            watching = threads.submit(lambda: [(event.sequence, event.state) for event in job.watch(timeout=PATIENCE_S)])
            time.sleep(1)
        with running(settings), suppress(TimeoutError):  # for longer than any one of them may be away
            watching.result(retry.total + 1)
        with running(settings):
            job.cancel()
            assert watching.result(PATIENCE_S) == [(1, "QUEUED"), (2, "CANCELLED")]


def test_jobs_are_taken_in_while_redis_is_away(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    upgrade(settings.database_url)
    with running(settings) as server, grpc.insecure_channel(server.address) as channel:
        api = Api(channel, "default")
        job = api.create_job()
        assert next(api.watch(job)).sequence == 1


def test_a_database_that_was_not_migrated_is_refused_by_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    with pytest.raises(StartError, match=r"lacks the tables alembic_version.*migrations\.upgrade.*empty\.db"):
        check_migrated(url)
    upgrade(url)
    check_migrated(url)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://me:secret@/secateur?host=/nowhere", "cannot be reached"),
        ("mysql://me:secret@db/secateur", "runs on SQLite and on PostgreSQL"),
        ("me:secret", "parse"),
        ("postgresql://me:secret", "parse"),
        ("postgresql://me:x@secret@127.0.0.1/secateur", "more than one @; write one of the password as %40"),
        ("postgresql://me:x@secret/y@127.0.0.1/secateur", "more than one @"),
        ("postgresql://me:x@secret:y@127.0.0.1/secateur", "more than one @"),
        ("postgres://me:x@secret@127.0.0.1/secateur", "more than one @"),
        ("postgresql://me:x%40secret@/secateur?host=/nowhere", "cannot be reached"),
    ],
)
def test_a_database_that_is_not_there_is_refused_without_its_password(url: str, problem: str) -> None:
    with pytest.raises(StartError, match=problem) as caught:
        check_migrated(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_serves_logs_json_and_ends_well_on_a_signal(settings: ServerSettings, number: signal.Signals) -> None:
    with server_process(data_dir=settings.data_dir, listen_address="127.0.0.1:0") as process:
        assert process.stderr is not None
        started = json.loads(process.stderr.readline())
        assert started["event"] == "serving"
        with grpc.insecure_channel(started["address"]) as channel:
            device_profile_service_pb2_grpc.DeviceProfileServiceStub(channel).ListDeviceProfiles(
                device_profile_service_pb2.ListDeviceProfilesRequest(), metadata=(("x-request-id", "abc-1"),)
            )
        process.send_signal(number)
        _, rest = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0
    call, stopping = (json.loads(line) for line in rest.splitlines())
    assert (call["event"], call["status"], call["request_id"]) == ("rpc", "OK", "abc-1")
    assert call["method"].endswith("/ListDeviceProfiles")
    assert stopping["event"] == "stopping"


def test_what_keeps_it_from_starting_is_one_readable_message(tmp_path: Path, settings: ServerSettings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            server_process(data_dir=tmp_path, listen_address="0.0.0.0:50551") as exposed,
            server_process(data_dir=tmp_path, listen_address="127.0.0.1:0") as unmigrated,
            server_process(data_dir=settings.data_dir, listen_address=address) as second,
        ):
            for process, problem in (
                (exposed, "only listens on a loopback address"),
                (unmigrated, "lacks the tables"),
                (second, "is taken"),
            ):
                _, stderr = process.communicate(timeout=PATIENCE_S)
                assert process.returncode == 1
                assert problem in stderr
                assert "Traceback" not in stderr


def test_a_unix_socket_has_one_server_and_is_taken_over_from_a_dead_one(tmp_path: Path, settings: ServerSettings) -> None:
    address = f"unix:{tmp_path}/secateur.sock"
    for _ in range(2):  # the first one leaves its socket behind
        with server_process(data_dir=settings.data_dir, listen_address=address) as first:
            assert first.stderr is not None
            assert json.loads(first.stderr.readline())["event"] == "serving"
            with server_process(data_dir=settings.data_dir, listen_address=address) as second:
                _, stderr = second.communicate(timeout=PATIENCE_S)
            assert second.returncode == 1
            assert "Another server answers on this socket" in stderr
            with grpc.insecure_channel(address) as channel:
                Api(channel, "default").upload_zoo()
            first.kill()
    assert (tmp_path / "secateur.sock").exists()


def test_a_socket_is_not_taken_from_a_server_that_has_no_time_to_answer(tmp_path: Path, settings: ServerSettings) -> None:
    path = f"{tmp_path}/secateur.sock"

    async def serve() -> None:
        async with app.serving(settings.model_copy(update={"listen_address": f"unix:{path}"})):
            pass

    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(path)
        busy.listen(0)
        first.connect(path)  # and whoever comes next has to wait
        with pytest.raises(StartError, match="Another server answers"):
            asyncio.run(serve())


def test_who_insists_is_served_on_a_network_with_a_warning(settings: ServerSettings) -> None:
    with server_process("--insecure", data_dir=settings.data_dir, listen_address="0.0.0.0:0") as process:
        assert process.stderr is not None
        warning, started = (json.loads(process.stderr.readline()) for _ in range(2))
    assert (warning["level"], warning["address"]) == ("warning", "0.0.0.0:0")
    assert warning["event"].startswith("open to the network")
    assert started["event"] == "serving"


def test_a_server_that_is_stopped_while_it_starts_ends(settings: ServerSettings) -> None:
    for _ in range(5):  # the stop meets the Redis listener in another state each time
        with running(settings):
            pass


def test_the_server_loads_no_training_framework() -> None:
    heavy = ["tensorflow", "keras", "numpy", "secateur.workers"]
    script = f"import sys, secateur.server.app; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
