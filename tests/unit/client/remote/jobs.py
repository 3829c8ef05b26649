"""JobService and PlanService as a test scripts them."""

# ruff: noqa: N802 -- the names of the RPCs
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from secateur.v1 import job_service_pb2 as pb
from secateur.v1 import plan_service_pb2 as plans_pb
from secateur.v1 import resources_pb2 as resources_pb
from secateur.v1.job_service_pb2_grpc import JobServiceServicer
from secateur.v1.plan_service_pb2_grpc import PlanServiceServicer
from tests.unit.client.remote.faults import Faults, abort

EPOCHS = 3


class Jobs(JobServiceServicer):
    """Keeps jobs. A job's events are all there when it is created; `live` holds back those after the first.

    Args:
        faults: What goes wrong.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.jobs: dict[str, pb.Job] = {}
        self.events: dict[str, list[pb.JobEvent]] = {}
        self.final_state = pb.JOB_STATE_SUCCEEDED
        self.live = False
        """Whether jobs stay queued until they are cancelled."""
        self.candidates: list[pb.SearchCandidate] = []
        """What the search of every target looked at, best first."""
        self.attempts = [pb.Attempt(plan="a" * 64, trained=True)]
        """Plans that were tried for every target."""
        self.break_after: list[int] = []
        """After how many events the next watches break, one number per watch."""
        self.end_after: list[int] = []
        """The same for watches that end in good order, as those of a server that shuts down."""
        self.watching = 0
        """How many watches go on."""

    async def CreateJob(self, request: pb.CreateJobRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Job:
        await self._faults.enter("CreateJob", request, context)
        job = pb.Job()
        job.CopyFrom(request.job)
        job.state = pb.JOB_STATE_QUEUED
        if not request.validate_only:
            job.name = f"{request.parent}/jobs/{len(self.jobs) + 1:08x}"
            job.create_time.CopyFrom(Timestamp(seconds=1_700_000_000))
            self.add(job)
            job.last_sequence = 1
        return job

    def add(self, job: pb.Job) -> None:
        """Keeps a job as it will be when it is done, or queued if jobs are live."""
        events = [pb.JobEvent(sequence=1, state=pb.JOB_STATE_QUEUED, message="created")]
        kept = pb.Job()
        kept.CopyFrom(job)
        if not self.live:
            for epoch in range(1, EPOCHS + 1):
                progress = pb.JobProgress(
                    epoch=epoch,
                    epochs=EPOCHS,
                    accuracy=0.9,
                    loss=0.5,
                    eta=Duration(seconds=EPOCHS - epoch),
                    steps=20,
                    images_per_second=1_234.5,
                    validation_loss=0.25,
                    learning_rate=0.05,
                )
                events.append(
                    pb.JobEvent(
                        sequence=epoch + 1,
                        state=pb.JOB_STATE_RUNNING,
                        stage=pb.JOB_STAGE_TRAINING,
                        attempt=1,
                        progress=progress,
                        message=f"Epoch {epoch} of {EPOCHS}",
                    )
                )
            events.append(pb.JobEvent(sequence=EPOCHS + 2, state=self.final_state, attempt=1, message="ended"))
            kept.state = self.final_state
            kept.attempt = 1
            kept.end_time.CopyFrom(Timestamp(seconds=1_700_000_060))
            kept.results.extend(map(self._result, range(len(kept.targets))))
            if self.final_state == pb.JOB_STATE_FAILED:
                kept.error.CopyFrom(pb.JobError(reason="WORKER_LOST", message="The worker was lost three times"))
        kept.last_sequence = len(events)
        self.jobs[job.name], self.events[job.name] = kept, events

    def _result(self, index: int) -> pb.TargetResult:
        met = self.final_state == pb.JOB_STATE_SUCCEEDED
        achieved = 50_000.0 if met else 70_000.0
        return pb.TargetResult(
            target_index=index,
            model="projects/default/models/aa01",
            met=met,
            message="" if met else "flash_bytes binds: 70000 bytes were reached",
            plans_tried=len(self.attempts),
            attempts=self.attempts,
            compliance=[
                resources_pb.Compliance(
                    resource=resources_pb.RESOURCE_FLASH_BYTES,
                    asked=65_536,
                    achieved=achieved,
                    margin=1 - achieved / 65_536,
                    met=met,
                    method="bytes of the int8 file",
                    origin="budget",
                )
            ],
        )

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Job:
        await self._faults.enter("DeleteJob", request, context)
        return self.jobs[request.name]

    async def UndeleteJob(self, request: pb.UndeleteJobRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Job:
        await self._faults.enter("UndeleteJob", request, context)
        return self.jobs[request.name]

    async def GetJob(self, request: pb.GetJobRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Job:
        await self._faults.enter("GetJob", request, context)
        if request.name not in self.jobs:
            self._faults.fail(
                "_", "NOT_FOUND", reason="JOB_NOT_FOUND", message=f"There is no such job. Received: {request.name}"
            )
            await self._faults.enter("_", request, context)
        return self.jobs[request.name]

    async def ListJobs(self, request: pb.ListJobsRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.ListJobsResponse:
        await self._faults.enter("ListJobs", request, context)
        newest_first = list(reversed(self.jobs.values()))
        start = int(request.page_token or 0)
        more = str(start + 2) if start + 2 < len(newest_first) else ""
        return pb.ListJobsResponse(jobs=newest_first[start : start + 2], next_page_token=more)

    async def CancelJob(self, request: pb.CancelJobRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Job:
        await self._faults.enter("CancelJob", request, context)
        job, events = self.jobs[request.name], self.events[request.name]
        if not job.HasField("end_time"):
            events.append(pb.JobEvent(sequence=len(events) + 1, state=pb.JOB_STATE_CANCELLED))
            job.state, job.last_sequence = pb.JOB_STATE_CANCELLED, len(events)
            job.end_time.CopyFrom(Timestamp(seconds=1_700_000_060))
        return job

    async def RetryJob(self, request: pb.RetryJobRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Job:
        await self._faults.enter("RetryJob", request, context)
        job = pb.Job()
        job.CopyFrom(self.jobs[request.name])
        job.name = f"projects/default/jobs/{len(self.jobs) + 1:08x}"
        job.state, job.last_sequence = pb.JOB_STATE_QUEUED, 1
        job.ClearField("end_time")
        self.add(job)
        return job

    async def WaitJob(self, request: pb.WaitJobRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.Job:
        await self._faults.enter("WaitJob", request, context)
        return self.jobs[request.name]

    async def ListSearchCandidates(
        self, request: pb.ListSearchCandidatesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListSearchCandidatesResponse:
        await self._faults.enter("ListSearchCandidates", request, context)
        start = int(request.page_token or 0)
        more = str(start + 2) if start + 2 < len(self.candidates) else ""
        return pb.ListSearchCandidatesResponse(candidates=self.candidates[start : start + 2], next_page_token=more)

    async def WatchJob(
        self, request: pb.WatchJobRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WatchJobResponse]:
        await self._faults.enter("WatchJob", request, context)
        breaks = self.break_after.pop(0) if self.break_after else None
        ends = self.end_after.pop(0) if self.end_after else None
        sent, position = 0, request.after_sequence
        self.watching += 1
        try:
            while True:
                for event in self.events[request.name][position:]:
                    if sent == breaks:
                        await abort(context)
                    if sent == ends:
                        return
                    yield pb.WatchJobResponse(event=event)
                    sent, position = sent + 1, position + 1
                if self.jobs[request.name].HasField("end_time"):
                    return
                await asyncio.sleep(0.01)
        finally:
            self.watching -= 1


class Plans(PlanServiceServicer):
    """Quotes the same for every target."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.feasible = True
        self.dropped_blocks: list[str] = []

    async def Quote(
        self, request: plans_pb.QuoteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> plans_pb.QuoteResponse:
        await self._faults.enter("Quote", request, context)
        limit = plans_pb.LimitQuote(
            resource=resources_pb.RESOURCE_FLASH_BYTES,
            asked=65_536,
            unpruned=307_000,
            predicted=60_000,
            smallest_reachable=12_000,
            met=self.feasible,
            origin="budget",
        )
        quote = plans_pb.TargetQuote(
            feasible=self.feasible,
            limits=[limit],
            binding_limit=resources_pb.RESOURCE_UNSPECIFIED if self.feasible else resources_pb.RESOURCE_FLASH_BYTES,
            plan=plans_pb.Plan(
                digest="d",
                mode=plans_pb.PLAN_MODE_DEVICE,
                dropped_blocks=self.dropped_blocks,
                widths=[plans_pb.GroupWidth(group="stage1_block1_conv1", width=4, unpruned_width=16)],
            ),
        )
        full, half = (
            resources_pb.Cost(parameters=whole, macs=whole, flash_bytes=whole, ram_bytes=whole) for whole in (300_000, 150_000)
        )
        return plans_pb.QuoteResponse(
            quotes=[quote] * len(request.targets),
            unpruned_cost=full,
            curve=[plans_pb.CurvePoint(width=1, cost=full), plans_pb.CurvePoint(width=0.5, cost=half)],
        )
