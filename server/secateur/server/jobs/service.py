"""JobService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import Final

from secateur.core.jobs import Scheduling
from secateur.server import names
from secateur.server.batches import Batches
from secateur.server.jobs import handlers, mapping
from secateur.server.jobs.candidates import ListSearchCandidates, list_search_candidates
from secateur.server.jobs.creation import CreateJob, Unchecked, create_jobs
from secateur.server.jobs.feeds import Feeds
from secateur.server.jobs.watch import WatchJob, wait_job, watch_job
from secateur.server.lists import ListRows
from secateur.server.rpc import Context
from secateur.server.threads import Threads
from secateur.store import Store
from secateur.store.records import JobRecord
from secateur.v1 import job_service_pb2, job_service_pb2_grpc

_OPEN: Final = (("x-watch", "open"),)
"""Initial metadata of a watch whose job has been read."""

_MOST_AT_ONCE: Final = 64
"""Jobs that one transaction creates. It is over within a tenth of a second, as others may wait for it."""


class JobService(job_service_pb2_grpc.JobServiceServicer):
    """Runs jobs.

    Args:
        store: Where jobs are.
        threads: Where handlers run.
        feeds: New events of jobs.
        send_soon: Called when a job may wait for its queue message.
        limits: How long a job may wait and run at most.
        retention: How long a deleted job can be undeleted.
        plan_seconds: How long the plans of one call may take.
    """

    def __init__(
        self,
        *,
        store: Store,
        threads: Threads,
        feeds: Feeds,
        send_soon: Callable[[], None],
        retention: timedelta,
        plan_seconds: float,
        limits: Scheduling = Scheduling(),  # noqa: B008 - immutable
    ) -> None:
        self._store = store
        self._threads = threads
        self._feeds = feeds
        self._send_soon = send_soon
        self._retention = retention
        self._plan_seconds = plan_seconds
        self._create: Batches[CreateJob, JobRecord | Unchecked] = Batches(
            partial(create_jobs, store=store, limits=limits), threads, most=_MOST_AT_ONCE
        )

    async def CreateJob(self, request: job_service_pb2.CreateJobRequest, context: Context) -> job_service_pb2.Job:
        """Creates a job."""
        command = mapping.create_from_proto(request)
        while isinstance(job := await self._create(command), Unchecked):
            await self._threads.run(job.check, seconds=self._plan_seconds)
        self._send_soon()
        return mapping.job_to_proto(job)

    async def GetJob(self, request: job_service_pb2.GetJobRequest, context: Context) -> job_service_pb2.Job:
        """Returns one job."""
        project, job_id = names.in_project(request.name, "jobs")
        found = await self._threads.run(handlers.get_job, project, job_id, store=self._store)
        return mapping.job_to_proto(found.job, place=found.place)

    async def ListJobs(self, request: job_service_pb2.ListJobsRequest, context: Context) -> job_service_pb2.ListJobsResponse:
        """Lists jobs, newest first unless asked otherwise."""
        query = ListRows.of(names.project_of(request.parent), request)
        page = await self._threads.run(handlers.list_jobs, query, store=self._store)
        return mapping.page_to_proto(page)

    async def CancelJob(self, request: job_service_pb2.CancelJobRequest, context: Context) -> job_service_pb2.Job:
        """Cancels a job."""
        project, job_id = names.in_project(request.name, "jobs")
        job = await self._threads.run(handlers.cancel_job, project, job_id, request.etag, store=self._store)
        return mapping.job_to_proto(job)

    async def RetryJob(self, request: job_service_pb2.RetryJobRequest, context: Context) -> job_service_pb2.Job:
        """Does the work of a job again, as a new job."""
        project, job_id = names.in_project(request.name, "jobs")
        command = handlers.RetryJob(project, job_id, etag=request.etag, request_id=request.request_id)
        job = await self._threads.run(handlers.retry_job, command, store=self._store)
        self._send_soon()
        return mapping.job_to_proto(job)

    async def WaitJob(self, request: job_service_pb2.WaitJobRequest, context: Context) -> job_service_pb2.Job:
        """Returns a job once it has ended, or when the time is over."""
        project, job_id = names.in_project(request.name, "jobs")
        seconds = mapping.wait_from_proto(request, context.time_remaining())
        return mapping.job_to_proto(await wait_job(project, job_id, seconds, feeds=self._feeds))

    async def DeleteJob(self, request: job_service_pb2.DeleteJobRequest, context: Context) -> job_service_pb2.Job:
        """Deletes a job."""
        project, job_id = names.in_project(request.name, "jobs")
        job = await self._threads.run(
            handlers.delete_job,
            project,
            job_id,
            allow_missing=request.allow_missing,
            keep=self._retention,
            store=self._store,
        )
        return mapping.job_to_proto(job) if job else job_service_pb2.Job()

    async def UndeleteJob(self, request: job_service_pb2.UndeleteJobRequest, context: Context) -> job_service_pb2.Job:
        """Undoes the deletion of a job."""
        project, job_id = names.in_project(request.name, "jobs")
        job = await self._threads.run(handlers.undelete_job, project, job_id, store=self._store)
        return mapping.job_to_proto(job)

    async def ListSearchCandidates(
        self, request: job_service_pb2.ListSearchCandidatesRequest, context: Context
    ) -> job_service_pb2.ListSearchCandidatesResponse:
        """Lists what the search of a finished target looked at, best first."""
        project, job_id = names.in_project(request.parent, "jobs")
        query = ListSearchCandidates(project, job_id, request.target_index, request.page_size, request.page_token)
        page = await self._threads.run(list_search_candidates, query, store=self._store)
        return mapping.candidates_to_proto(page)

    async def WatchJob(
        self, request: job_service_pb2.WatchJobRequest, context: Context
    ) -> AsyncGenerator[job_service_pb2.WatchJobResponse, None]:
        """Streams the events of a job."""
        project, job_id = names.in_project(request.name, "jobs")
        query = WatchJob(project=project, job=job_id, after_sequence=request.after_sequence)
        events = watch_job(query, feeds=self._feeds, on_open=lambda: context.send_initial_metadata(_OPEN))
        async with aclosing(events):
            async for event in events:
                yield mapping.event_to_proto(event)
