"""The composition root: builds one server process out of its parts, serves, and stops gracefully."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from typing import Final

import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from secateur.core.jobs import Scheduling
from secateur.server.access import Access
from secateur.server.architectures.service import ArchitectureService
from secateur.server.audit import FLUSH_SECONDS, AuditLog
from secateur.server.authentication import Authenticator, NoAuthentication
from secateur.server.datasets.service import DatasetService
from secateur.server.device_profiles.service import DeviceProfileService
from secateur.server.forgetting import FORGET_SECONDS, Forgetter
from secateur.server.jobs.feeds import Feeds
from secateur.server.jobs.service import JobService
from secateur.server.listening import check_exposure, listen
from secateur.server.models.resolver import Resolver
from secateur.server.models.service import ModelService
from secateur.server.periodic import Periodic
from secateur.server.plans.service import PlanService
from secateur.server.reaper import Reaper
from secateur.server.relay import Relay
from secateur.server.rpc import RpcInterceptor
from secateur.server.settings import ServerSettings
from secateur.server.sweeper import Sweeper
from secateur.server.threads import Threads
from secateur.server.watchers import Watchers
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.logs import configure_logs
from secateur.store.memory import keep_freed_memory
from secateur.store.startup import check_blobs, check_migrated, starting, warn_of_misspelt
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

_MAX_PENDING: Final = 20_000
"""Calls that may wait to be looked at."""

MAX_UNSEEN_SECONDS: Final = 3_600
"""How long each of them may; its own deadline ends it before."""

_KEPT_BYTES: Final = 64 * 2**20
"""Free memory that is kept for the next chunks of uploads and downloads."""

_PERIODICS: Final = 7
"""Background loops that call a function in a thread: one each, so that none waits for another."""

_CANCEL_AGAIN_SECONDS: Final = 0.2

_log = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def serving(settings: ServerSettings) -> AsyncGenerator[str, None]:
    """Serves until the block ends, then stops gracefully.

    Health turns NOT_SERVING, watch streams end with UNAVAILABLE, and other running calls may end within the grace period.

    Args:
        settings: Settings of the process.

    Yields:
        The address that the server listens on, its port filled in.

    Raises:
        StartError: If the database was not migrated, a library is missing, the address is taken, or open to a network without
            TLS and tokens.
    """
    check_exposure(settings)
    check_migrated(settings.database_url)
    check_blobs(settings.blob_url)
    with (
        closing(Wakeups(settings.redis_url)) as wakeups,
        closing(
            Store(settings.database_url, timeouts=settings.database_timeouts, wakeups=wakeups, quotas=settings.quotas)
        ) as store,
        closing(Relay(store, settings.celery_broker_url, rest_seconds=settings.relay_seconds)) as relay,
        # Apart, so that a blob store that hangs holds up neither the calls that do not need it nor the background.
        closing(Threads(settings.handler_threads)) as threads,
        closing(Threads(settings.blob_threads)) as blob_threads,
        closing(Threads(_PERIODICS)) as background_threads,
    ):
        stopping = threading.Event()
        watchers = Watchers(wakeups)
        feeds = Feeds(store=store, watchers=watchers, threads=threads, most=settings.max_watches)
        forgetter = Forgetter(
            store,
            request_ids=timedelta(days=settings.request_id_days),
            audit=timedelta(days=settings.audit_days) if settings.audit_days else None,
            stopping=stopping,
        )
        forgetting = Periodic(forgetter.forget, interval_seconds=FORGET_SECONDS, threads=background_threads)
        sending = Periodic(relay.send_owed, interval_seconds=settings.relay_seconds, threads=background_threads)
        reaper = Reaper(
            store,
            blob_url=settings.blob_url,
            lease_seconds=settings.lease_seconds,
            reap_seconds=settings.reap_seconds,
            stopping=stopping,
            resend_after=timedelta(seconds=settings.resend_seconds),
        )
        reaping = Periodic(reaper.reap, interval_seconds=settings.reap_seconds, threads=background_threads)
        clearing = Periodic(reaper.clear, interval_seconds=settings.reap_seconds, threads=background_threads)
        sweeper = Sweeper(store, settings, stopping)
        sweeping = Periodic(sweeper.sweep, interval_seconds=settings.collect_seconds, threads=background_threads)
        audit = AuditLog(store)
        auditing = Periodic(audit.flush, interval_seconds=FLUSH_SECONDS, threads=background_threads)
        authenticator = Authenticator(store, threads, cache_seconds=settings.token_cache_seconds)
        access = Access(authenticator if settings.authentication == "tokens" else NoAuthentication())
        blobs, retention = BlobStore(settings.blob_url), timedelta(seconds=settings.deleted_retention_seconds)
        server = grpc.aio.server(interceptors=[RpcInterceptor(access, audit.record)], options=_options(settings))
        architecture_service_pb2_grpc.add_ArchitectureServiceServicer_to_server(ArchitectureService(store, threads), server)
        sets = DatasetService(
            store=store,
            blobs=blobs,
            uploads=UploadStore(settings.blob_url),
            threads=threads,
            blob_threads=blob_threads,
            retention=retention,
            at_once=settings.uploads_at_once,
            idle_seconds=settings.upload_idle_seconds,
        )
        dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(sets, server)
        device_profile_service_pb2_grpc.add_DeviceProfileServiceServicer_to_server(DeviceProfileService(store, threads), server)
        jobs = JobService(
            store=store,
            threads=threads,
            feeds=feeds,
            send_soon=sending.nudge,
            plan_seconds=settings.plan_seconds,
            limits=Scheduling(max_pending_seconds=settings.max_pending_seconds, max_run_seconds=settings.max_run_seconds),
            retention=retention,
        )
        job_service_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
        resolver: Resolver[model_service_pb2.ResolveModelResponse] = Resolver(store)
        refreshing = Periodic(resolver.refresh, interval_seconds=settings.resolve_refresh_seconds, threads=background_threads)
        models = ModelService(
            store=store,
            blobs=blobs,
            resolver=resolver,
            threads=threads,
            blob_threads=blob_threads,
            retention=retention,
            url_seconds=settings.artifact_url_seconds,
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
        plans = PlanService(store, threads, seconds=settings.plan_seconds)
        plan_service_pb2_grpc.add_PlanServiceServicer_to_server(plans, server)
        probes = await _add_probes(server)
        address = listen(server, settings)
        # A loop that dies takes the server down with it, loudly, for the process manager to start again.
        async with asyncio.TaskGroup() as background:
            loops = (watchers, sending, reaping, clearing, sweeping, refreshing, forgetting, auditing)
            tasks = [background.create_task(loop.run()) for loop in loops]
            await server.start()
            # What was made until now stays for good: looking through it again would hold up every call for a tenth of a second.
            gc.freeze()
            _log.info("serving", address=address)
            try:
                yield address
            finally:
                _log.info("stopping", grace_seconds=settings.grace_seconds)
                stopping.set()
                await probes.enter_graceful_shutdown()
                watchers.stop()
                await server.stop(settings.grace_seconds)
                await _cancel(tasks)
                await background_threads.run(audit.close)


def main() -> None:
    """Runs a server until SIGTERM or SIGINT. Entry point of `secateur-server`."""
    with starting("secateur-server"):
        settings = _settings(sys.argv[1:])
        configure_logs(settings.log_level)
        warn_of_misspelt(ServerSettings)
        keep_freed_memory(_KEPT_BYTES)
        asyncio.run(_serve_until_signal(settings))


def _settings(arguments: Sequence[str]) -> ServerSettings:
    parser = argparse.ArgumentParser(
        prog="secateur-server", description="Secateur's control plane. Its settings are environment variables, SECATEUR_*."
    )
    parser.add_argument(
        "--insecure", action="store_true", help="listen on a network even without TLS and tokens; as SECATEUR_INSECURE=1"
    )
    return ServerSettings(insecure=True) if parser.parse_args(arguments).insecure else ServerSettings()


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
        # Beyond 1,000 calls at once, say of devices after an outage, gRPC would cancel some, without a reason.
        ("grpc.server.max_pending_requests", _MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _MAX_PENDING),
        ("grpc.server_max_unrequested_time_in_server", MAX_UNSEEN_SECONDS),  # by itself, it cancels what waits for 30 seconds
        *_KEEPALIVE,
    ]


async def _add_probes(server: grpc.aio.Server) -> health.aio.HealthServicer:
    probes = health.aio.HealthServicer()
    for name in SERVICES:
        await probes.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(probes, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return probes
