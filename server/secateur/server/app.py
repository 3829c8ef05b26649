"""The composition root: builds one server process out of its parts, serves, and stops gracefully."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from typing import Final

import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pydantic import ValidationError
from sqlalchemy import inspect, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from secateur.server.architectures.service import ArchitectureService
from secateur.server.collector import Sweeper
from secateur.server.datasets.service import DatasetService
from secateur.server.device_profiles.service import DeviceProfileService
from secateur.server.jobs.service import JobService
from secateur.server.models.service import ModelService
from secateur.server.periodic import Periodic
from secateur.server.plans.service import PlanService
from secateur.server.reaper import Reaper
from secateur.server.relay import Relay
from secateur.server.rpc import RpcInterceptor
from secateur.server.settings import ServerSettings
from secateur.server.threads import Threads
from secateur.server.watchers import Watchers
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.database import make_engine
from secateur.store.logs import configure_logs
from secateur.store.tables import Base
from secateur.store.uploads import UploadStore
from secateur.store.wakeups import Wakeups
from secateur.v1 import (
    architecture_service_pb2,
    architecture_service_pb2_grpc,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    device_profile_service_pb2,
    device_profile_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    plan_service_pb2,
    plan_service_pb2_grpc,
)

SERVICES: Final = tuple(
    service.full_name
    for module in (
        architecture_service_pb2,
        dataset_service_pb2,
        device_profile_service_pb2,
        job_service_pb2,
        model_service_pb2,
        plan_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)
"""Full names of the services, as health probes and reflection know them."""

_KEEPALIVE: Final = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # How often a client may ping: a watch stream is silent for as long as an epoch takes.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)

_CANCEL_AGAIN_SECONDS: Final = 0.2

_log = structlog.stdlib.get_logger(__name__)


class StartError(Exception):
    """The server cannot start; the message says what to do."""


@asynccontextmanager
async def serving(settings: ServerSettings) -> AsyncGenerator[str, None]:
    """Serves until the block ends, then stops gracefully.

    Health turns NOT_SERVING, watch streams end with UNAVAILABLE, and other running calls may end within the grace period.

    Args:
        settings: Settings of the process.

    Yields:
        The address that the server listens on, its port filled in.

    Raises:
        StartError: If the database was not migrated or the address is taken.
    """
    check_migrated(settings.database_url)
    with (
        closing(Wakeups(settings.redis_url)) as wakeups,
        closing(Store(settings.database_url, timeouts=settings.database_timeouts, wakeups=wakeups)) as store,
        closing(Relay(store, settings.celery_broker_url)) as relay,
        closing(Threads(settings.handler_threads)) as threads,
    ):
        watchers = Watchers(wakeups)
        sending = Periodic(relay.send_owed, interval_seconds=settings.relay_seconds, threads=threads)
        reaping = Periodic(Reaper(store).reap, interval_seconds=settings.reap_seconds, threads=threads)
        sweeping = Periodic(Sweeper(store, settings).sweep, interval_seconds=settings.collect_seconds, threads=threads)
        blobs, retention = BlobStore(settings.blob_url), timedelta(seconds=settings.deleted_retention_seconds)
        server = grpc.aio.server(interceptors=[RpcInterceptor()], options=_options(settings))
        architecture_service_pb2_grpc.add_ArchitectureServiceServicer_to_server(ArchitectureService(store, threads), server)
        sets = DatasetService(
            store=store,
            blobs=blobs,
            uploads=UploadStore(settings.blob_url),
            threads=threads,
            retention=retention,
            at_once=settings.uploads_at_once,
            idle_seconds=settings.upload_idle_seconds,
        )
        dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(sets, server)
        device_profile_service_pb2_grpc.add_DeviceProfileServiceServicer_to_server(DeviceProfileService(store, threads), server)
        jobs = JobService(store=store, threads=threads, watchers=watchers, send_soon=sending.nudge, retention=retention)
        job_service_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
        models = ModelService(
            store=store, blobs=blobs, threads=threads, retention=retention, url_seconds=settings.artifact_url_seconds
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
        plan_service_pb2_grpc.add_PlanServiceServicer_to_server(PlanService(store, threads), server)
        probes = await _add_probes(server)
        address = _listen(server, settings.listen_address)
        # A loop that dies takes the server down with it, loudly, for the process manager to start again.
        async with asyncio.TaskGroup() as background:
            loops = [background.create_task(loop.run()) for loop in (watchers, sending, reaping, sweeping)]
            await server.start()
            _log.info("serving", address=address)
            try:
                yield address
            finally:
                _log.info("stopping", grace_seconds=settings.grace_seconds)
                await probes.enter_graceful_shutdown()
                watchers.stop()
                await server.stop(settings.grace_seconds)
                await _cancel(loops)


def check_migrated(database_url: str) -> None:
    """Refuses a database that cannot be reached or lacks our tables.

    Raises:
        StartError: Naming the database and what to do.
    """
    try:
        engine = make_engine(database_url)
    except (ValueError, ArgumentError) as error:
        raise StartError(str(error)) from error
    try:
        with engine.connect() as connection:
            found = set(inspect(connection).get_table_names())
    except OperationalError as error:
        raise StartError(f"The database cannot be reached: {str(error.orig).strip()}") from error
    finally:
        engine.dispose()
    missing = {*Base.metadata.tables, "alembic_version"} - found
    if missing:
        raise StartError(
            f"The database lacks the tables {', '.join(sorted(missing))}; run `python -m migrations.upgrade` first. "
            f"Received: {make_url(database_url).render_as_string(hide_password=True)}"
        )


def main() -> None:
    """Runs a server until SIGTERM or SIGINT. Entry point of `secateur-server`."""
    try:
        settings = ServerSettings()
        configure_logs(settings.log_level)
        asyncio.run(_serve_until_signal(settings))
    except (StartError, ValidationError) as error:
        sys.exit(f"secateur-server: {error}")


async def _serve_until_signal(settings: ServerSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(settings):
        await stop.wait()


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    # Again and again: on Python 3.11 `asyncio.wait_for`, which redis-py sends with, may swallow a cancellation.
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake, not a replica
        *_KEEPALIVE,
    ]


async def _add_probes(server: grpc.aio.Server) -> health.aio.HealthServicer:
    probes = health.aio.HealthServicer()
    for name in SERVICES:
        await probes.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(probes, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return probes


def _listen(server: grpc.aio.Server, address: str) -> str:
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise StartError(f"The address is taken or not of this machine. Received: {address}") from error
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
