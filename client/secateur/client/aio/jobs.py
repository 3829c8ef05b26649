"""Handle of a job."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from secateur.client import _job_mapping
from secateur.client._messages import made
from secateur.client._transport import Transport
from secateur.client._views import JobView
from secateur.client.aio.models import Model
from secateur.client.errors import SecateurError, Unavailable, WaitTimeout
from secateur.client.jobs import FINAL_STATES, JobEvent, JobSnapshot
from secateur.v1 import job_service_pb2 as jobs_pb


class Job(JobView):
    """A job. `Client` makes these.

    The properties are what was last read; `refresh` and `wait` read again. As with `concurrent.futures`, `wait` only waits
    and `result` raises what went wrong.
    """

    def __init__(self, transport: Transport, snapshot: JobSnapshot) -> None:
        self._transport = transport
        self._snapshot = snapshot

    @classmethod
    async def get(cls, transport: Transport, name: str) -> Job:
        """Reads a job by its resource name."""
        response = await transport.unary(transport.jobs.GetJob, jobs_pb.GetJobRequest(name=name))
        return cls(transport, _job_mapping.job(response))

    async def refresh(self) -> Job:
        """Reads the job again, and returns it."""
        request = jobs_pb.GetJobRequest(name=self.name)
        self._snapshot = _job_mapping.job(await self._transport.unary(self._transport.jobs.GetJob, request))
        return self

    async def cancel(self, *, if_unchanged: bool = False) -> Job:
        """Asks the service to end the job CANCELLED, and returns it. A job that is done stays as it is.

        Args:
            if_unchanged: Only if the job is still as it was last read.

        Raises:
            Aborted: If it is not (ETAG_MISMATCH).
            SecateurError: If the call fails for good in any other way.
        """
        request = jobs_pb.CancelJobRequest(name=self.name, etag=self.snapshot.etag if if_unchanged else "")
        self._snapshot = _job_mapping.job(await self._transport.unary(self._transport.jobs.CancelJob, request))
        return self

    async def retry(self) -> Job:
        """Has the work of a job that is FAILED, CANCELLED or EXPIRED done again, and returns the new job.

        Raises:
            FailedPrecondition: If the job is in another state (JOB_NOT_RETRYABLE).
            SecateurError: If the call fails for good in any other way.
        """
        request = jobs_pb.RetryJobRequest(name=self.name, request_id=str(uuid.uuid4()))
        return Job(self._transport, _job_mapping.job(await self._transport.unary(self._transport.jobs.RetryJob, request)))

    async def watch(self, after: int = 0, timeout: float | None = None) -> AsyncGenerator[JobEvent, None]:  # noqa: ASYNC109 -- as in concurrent.futures
        """Yields the events of the job until it is done, reconnecting without gap or repeat when the connection breaks.

        Args:
            after: Sequence number of the last event already seen; 0 for all.
            timeout: How long to watch, in seconds; None until the job is done. Of a job that was done when it was last read,
                the events that come in that time are yielded.

        Raises:
            WaitTimeout: If the job is not done in time. It goes on.
            SecateurError: If the service fails for good.
        """
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        async with aclosing(self._events(after)) as events:
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        event = await anext(events, None)
                except TimeoutError:
                    break
                if event is None:
                    return
                yield event
        if self.done:
            return
        raise WaitTimeout(
            "WAIT_TIMEOUT", f"{self.name} was not done within {timeout:g} s; it goes on", metadata={"job": self.name}
        )

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 -- as in concurrent.futures
        on_event: Callable[[JobEvent], object] | None = None,
    ) -> Job:
        """Waits until the job is done, good or bad.

        Args:
            timeout: How long to wait, in seconds; None for as long as it takes.
            on_event: Called with every event of the job that comes in time, past ones first.

        Returns:
            The job itself, read again; `state` tells how it ended.

        Raises:
            WaitTimeout: If the job is not done in time. It goes on.
            SecateurError: If the service fails for good.
        """
        if self.done and on_event is None:
            return self  # nothing can change any more
        async with aclosing(self.watch(0 if on_event is not None else self.snapshot.last_sequence, timeout)) as events:
            async for event in events:
                if on_event is not None:
                    on_event(event)
        return await self.refresh()

    async def result(self, timeout: float | None = None) -> list[Model]:  # noqa: ASYNC109 -- as in concurrent.futures
        """Waits for the job and returns its models, one per target.

        Args:
            timeout: How long to wait, in seconds; None for as long as it takes.

        Raises:
            JobFailed: If the job failed.
            JobCancelled: If it was cancelled.
            JobInfeasible: If a limit could not be met; the message names it. `models` still returns the nearest models.
            JobExpired: If it waited or ran longer than the service allows.
            WaitTimeout: If it is not done in time. It goes on.
            SecateurError: If the service fails for good.
        """
        await self.wait(timeout)
        failure = self.exception()
        if failure is not None:
            raise failure
        return await self.models()

    async def models(self) -> list[Model]:
        """Returns the models made so far, in the order of the targets."""
        return [await Model.get(self._transport, result.model) for result in self.results if result.model]

    async def _events(self, after: int) -> AsyncGenerator[JobEvent, None]:
        """Yields events from `after` on; a stream that breaks, or ends before the job, is opened again where it ended."""
        attempts = self._transport.attempts()
        while True:
            request = made(jobs_pb.WatchJobRequest, name=self.name, after_sequence=after)
            try:
                async with aclosing(
                    self._transport.stream(self._transport.jobs.WatchJob, request, on_open=attempts.progressed)
                ) as responses:
                    async for response in responses:
                        event = _job_mapping.job_event(response.event)
                        after = event.sequence
                        attempts.progressed()
                        yield event
                        if event.state in FINAL_STATES:
                            return
                await self.refresh()
                if self.done and after >= self.snapshot.last_sequence:
                    return
                failure: SecateurError = Unavailable("WATCH_ENDED", f"The server ended the watch of {self.name} before the job")
            except SecateurError as error:
                failure = error
            await attempts.pause(failure)
