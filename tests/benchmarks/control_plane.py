"""What the control plane bears, against the least that grpc.aio can do in the same run.

`python -m tests.benchmarks.control_plane [--only SECTION ...] [--quick]` runs on loopback, the server in a process of its own:

- `resolve`: ResolveModel over 100,000 models in 1,000 families, of a server that asks for no tokens and of one that does,
  against an empty echo (target: half its rate, p99 at most 3x), also one that is sent a token;
- `list`: a filtered page of 1,000 and of 1,000,000 jobs on PostgreSQL (target: ratio at most 1.5);
- `watch`: 2,000 watchers of one job, an event a second for a minute (target: each within 1 s, none missing);
- `blobs`: download and upload against a bare stream of the same chunks (target: 0.8 and 0.7 of its rate); against one
  of the service's own messages, one of those whose receiver hashes what comes, which is the least that a content-addressed
  store does, and one whose receiver writes to a file and syncs it once, which is what the disk allows;
- `create`: jobs created by 128 and by 32 clients at once, of one server and of two (target: 300 a second, none lost).

What is compared takes turns, five times. Prints a table and writes docs/results/control_plane.json; `--quick` takes a
hundredth of everything, to see that it runs, and writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any, Final

import grpc
import psutil
from sqlalchemy import case, literal, null

from secateur.core.access import Scope
from secateur.core.jobs import JobState
from secateur.store.database import make_engine
from secateur.store.ledger import JobLedger
from secateur.store.tables import ArchitectureRow, JobRow, ModelRow
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import job_service_pb2_grpc, model_service_pb2_grpc, resources_pb2
from secateur.v1 import model_service_pb2 as models_pb
from tests.benchmarks.bare_server import ECHO
from tests.benchmarks.filled import copies, digest, identifier
from tests.benchmarks.served import ROUNDS, Service, load, service
from tests.benchmarks.transfers import transferring
from tests.support.access import issue
from tests.support.postgres import postgres_server
from tests.support.server import limit, train
from tests.support.stack import ROOT

RESULTS: Final = ROOT / "docs/results/control_plane.json"
SECONDS: Final = 8.0


def resolve(share: float) -> dict[str, Any]:
    """Devices ask for their model."""
    models, families = int(100_000 * share), int(1_000 * share)
    with service() as running:
        with running.api() as api:
            job = api.create_job()
            train(running.store, running.blobs, job)
        engine = make_engine(running.database_url)
        copies(engine, ArchitectureRow, families, {"id": identifier, "digest": digest}, id=job.architecture[-16:])
        changed = {
            "id": identifier,
            "job_id": identifier,
            "architecture": lambda n: digest(n % families),
            "accuracy": lambda n: literal(0.5) + (n * 7919 % 997) / literal(2000.0),
            "flash_bytes": lambda n: literal(20_000) + n * 104_729 % 100_003,
        }
        copies(engine, ModelRow, models, changed, job_id=job.name.rpartition("/")[2])
        engine.dispose()
        token = issue(running.store, Scope.OPERATOR, "default").text
        guarded = running.stack.add_server(token)
        return asyncio.run(_resolve(running, guarded, token, families, SECONDS * max(share, 0.1)))


async def _resolve(running: Service, guarded: str, token: str, families: int, seconds: float) -> dict[str, Any]:
    flash = limit(resources_pb2.RESOURCE_FLASH_BYTES, value=90_000)
    requests = [
        models_pb.ResolveModelRequest(
            architecture=f"projects/default/architectures/{10**15 + family}",
            dataset="datasets/digits",
            budget=resources_pb2.Budget(limits=[flash]),
        )
        for family in range(families)
    ]
    async with (
        grpc.aio.insecure_channel(running.bare_address) as bare,
        grpc.aio.insecure_channel(running.stack.address) as ours,
        grpc.aio.insecure_channel(guarded) as asking,
    ):
        echo: Any = bare.unary_unary(ECHO)
        plain = model_service_pb2_grpc.ModelServiceStub(ours).ResolveModel
        carried = (("authorization", f"Bearer {token}"),)
        secured = partial(model_service_pb2_grpc.ModelServiceStub(asking).ResolveModel, metadata=carried)
        asked = iter(range(10**9))
        for request in requests:  # warm
            await secured(request)
        answers = [await plain(request) for request in requests]  # where the etags come from too
        known = [models_pb.ResolveModelRequest(if_none_match=answer.etag) for answer in answers]
        for request, full in zip(known, requests, strict=True):
            request.MergeFrom(full)

        def ask(resolve: Callable[..., Awaitable[object]], kind: list[models_pb.ResolveModelRequest]) -> Awaitable[object]:
            return resolve(kind[next(asked) * 7919 % families])

        compared: dict[str, Callable[[], Awaitable[object]]] = {
            "echo, token": lambda: echo(b"", metadata=carried),  # what it costs to bring a token, whoever looks at it
            "resolve": lambda: ask(plain, requests),
            "resolve, unchanged": lambda: ask(plain, known),
            "resolve, token": lambda: ask(secured, requests),
            "resolve, unchanged, token": lambda: ask(secured, known),
        }
        sides = {"echo": lambda: echo(b""), **compared}
        rows = [{side: await load(call, seconds) for side, call in sides.items()} for _ in range(ROUNDS)]
        unchanged = await plain(known[0])
    return {
        "models": families * 100,
        "families": families,
        **{
            f"{side}: {figure}": statistics.median(row[side][place] / row["echo"][place] for row in rows)
            for side in compared
            for place, figure in ((0, "rate / echo"), (1, "p99 / echo"))
        },
        "echo a second": statistics.median(row["echo"][0] for row in rows),
        "reply bytes": answers[0].ByteSize(),
        "reply bytes, unchanged": unchanged.ByteSize(),
    }


def listing(share: float) -> dict[str, Any]:
    """Somebody looks for their running jobs among all that there ever were."""
    sizes = (1_000, int(1_000_000 * share))
    times: dict[int, dict[str, float]] = {}
    with postgres_server() as postgres:
        for size in sizes:
            with postgres.database() as url, service(url) as running:
                times[size] = _list_times(running, size)
    small, large = (times[size] for size in sizes)
    return {
        "jobs": sizes,
        **{f"{name}: {sizes[1]:,} / {sizes[0]:,}": large[name] / small[name] for name in small},
        "ms": {size: {name: round(1e3 * seconds, 2) for name, seconds in found.items()} for size, found in times.items()},
    }


def _list_times(running: Service, size: int) -> dict[str, float]:
    with running.api() as api:
        job = api.create_job(labels={"fleet": "alps"})
        engine = make_engine(running.database_url)
        rare = size // 100
        changed = {
            "id": identifier,
            "work_key": digest,
            "live_work_key": lambda _: null(),
            "state": lambda n: case((n % rare == 7, literal("RUNNING")), else_=literal("SUCCEEDED")),
            "create_time": lambda n: JobRow.__table__.c.create_time - n * literal(timedelta(seconds=1)),
        }
        copies(engine, JobRow, size, changed, id=job.name.rpartition("/")[2])
        with engine.begin() as connection:  # as autovacuum does before long
            connection.exec_driver_sql("ANALYZE")
        engine.dispose()
        filters = ("", "state = RUNNING", 'labels.fleet = "alps"', 'state = RUNNING AND labels.fleet = "alps"')
        requests = {asked: jobs_pb.ListJobsRequest(parent=api.parent, page_size=50, filter=asked) for asked in filters}
        return {asked or "newest": _median_time(partial(api.jobs.ListJobs, request)) for asked, request in requests.items()}


def _median_time(call: Callable[[], object], times: int = 60) -> float:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[5:])


def watching(share: float) -> dict[str, Any]:
    """Many follow one job."""
    watchers, events = int(2_000 * share), max(5, int(60 * share))
    with service() as running:
        with running.api() as api:
            job = api.create_job()
        ledger = JobLedger(running.store)
        claim = ledger.claim(job.name.rpartition("/")[2], worker="benchmark", lease_seconds=600)
        assert claim is not None

        async def follow(stub: Any, started: asyncio.Queue[int]) -> list[tuple[str, float]]:
            seen = []
            async for response in stub.WatchJob(jobs_pb.WatchJobRequest(name=job.name)):
                seen.append((response.event.message, time.time()))
                if len(seen) == 2:
                    started.put_nowait(1)
            return seen

        async def run() -> tuple[list[list[tuple[str, float]]], dict[str, float]]:
            channels = [
                grpc.aio.insecure_channel(running.stack.address, options=[("grpc.use_local_subchannel_pool", 1)])
                for _ in range(20)
            ]
            stubs = [job_service_pb2_grpc.JobServiceStub(channel) for channel in channels]
            started: asyncio.Queue[int] = asyncio.Queue()
            sent = {}
            async with asyncio.TaskGroup() as group:  # one that fails ends them all
                tasks = [group.create_task(follow(stubs[number % 20], started)) for number in range(watchers)]
                for _ in range(watchers):
                    await started.get()
                for number in range(events):
                    sent[f"event {number}"] = time.time()
                    await asyncio.to_thread(ledger.report, claim, message=f"event {number}")
                    await asyncio.sleep(1)
                await asyncio.to_thread(ledger.finish, claim, JobState.FAILED, reason="BENCHMARK", message="over")
            for channel in channels:
                await channel.close()
            return [task.result() for task in tasks], sent

        seen, sent = asyncio.run(run())
    delays = [at - sent[message] for heard in seen for message, at in heard if message in sent]
    return {
        "watchers": watchers,
        "events": events,
        "missing": watchers * events - len(delays),
        "repeated": sum(len(heard) - len(dict(heard)) for heard in seen),
        "delay p50 s": statistics.median(delays),
        "delay p99 s": statistics.quantiles(delays, n=100)[98],
        "delay max s": max(delays),
    }


def creating(share: float) -> dict[str, Any]:
    """Many jobs are asked for at once: of one server, and of one for each of two cores."""
    figures: dict[str, Any] = {"jobs": int(3_000 * share)}
    kinds = [(servers, clients) for servers in (1, 2) for clients in (128, 32)]
    runs = [{kind: _created(figures["jobs"], *kind) for kind in kinds} for _ in range(ROUNDS)]
    for servers, clients in kinds:
        made = [run[servers, clients] for run in runs]
        of = f"{servers} server{'s' * (servers > 1)}, {clients} clients"
        figures |= {
            f"a second, {of}": statistics.median(rate for *_, rate in made),
            f"a second in each run, {of}": [round(rate) for *_, rate in made],
            f"lost, {of}": sum(len(names - listed) for names, listed, _ in made),
            f"twice, {of}": sum(figures["jobs"] - len(names) for names, *_ in made),
        }
    return figures


def _created(count: int, servers: int, clients: int) -> tuple[set[str], set[str], float]:
    """Returns the jobs that were created, those that are there, and how many were created a second."""
    with service() as running:
        addresses = [running.stack.address, *(running.stack.add_server() for _ in range(servers - 1))]
        with running.api() as api:
            job = api.job()
        seconds, names = asyncio.run(_create(addresses, job, count, clients))
        with running.api() as api:
            listed, token = set[str](), ""
            while True:
                page = api.jobs.ListJobs(jobs_pb.ListJobsRequest(parent=api.parent, page_size=200, page_token=token))
                listed |= {found.name for found in page.jobs}
                token = page.next_page_token
                if not token:
                    return names, listed, count / seconds


async def _create(addresses: list[str], job: jobs_pb.Job, count: int, clients: int) -> tuple[float, set[str]]:
    async with AsyncExitStack() as opened:
        channels = [await opened.enter_async_context(grpc.aio.insecure_channel(address)) for address in addresses]
        stubs = itertools.cycle(job_service_pb2_grpc.JobServiceStub(channel) for channel in channels)
        seeds = iter(range(count))
        names: set[str] = set()

        async def loop(stub: Any) -> None:
            for seed in seeds:
                request = jobs_pb.CreateJobRequest(parent="projects/default", request_id=str(uuid.uuid4()))
                request.job.CopyFrom(job)
                request.job.seed = seed
                names.add((await stub.CreateJob(request)).name)

        begun = time.perf_counter()
        await asyncio.gather(*(loop(next(stubs)) for _ in range(clients)))
        return time.perf_counter() - begun, names


SECTIONS: Final = {"resolve": resolve, "list": listing, "watch": watching, "blobs": transferring, "create": creating}


def main() -> None:
    """Runs the sections that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in given.only:
        figures = SECTIONS[name](0.01 if given.quick else 1.0)
        print(f"{name}:")
        for figure, value in figures.items():
            print(f"    {figure:<40} {value:.3f}" if isinstance(value, float) else f"    {figure:<40} {value}", flush=True)
        found[name] = figures | {"machine": f"{psutil.cpu_count()} cores", "command": " ".join(sys.argv[1:])}
        if not given.quick:
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
