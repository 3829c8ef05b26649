"""What sync and asyncio handles have in common: the last known state of a job or a model, read without a call."""

from __future__ import annotations

from collections.abc import Mapping

from secateur.client.errors import JOB_STATES, JobError, JobFailed
from secateur.client.jobs import (
    JobFailure,
    JobProgress,
    JobSnapshot,
    TargetResult,
)
from secateur.client.values import (
    Artifact,
    Compliance,
    Measurement,
    ModelSnapshot,
    Plan,
)


class JobView:
    """A job as last read. Nothing here calls the service."""

    _snapshot: JobSnapshot

    @property
    def snapshot(self) -> JobSnapshot:
        """Everything that is known of the job."""
        return self._snapshot

    @property
    def name(self) -> str:
        """Resource name, `projects/{project}/jobs/{id}`; empty if the job was only validated."""
        return self.snapshot.name

    @property
    def architecture(self) -> str:
        """Resource name of the architecture."""
        return self.snapshot.architecture

    @property
    def state(self) -> str:
        """QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED, INFEASIBLE or EXPIRED."""
        return self.snapshot.state

    @property
    def stage(self) -> str:
        """Of a running job PLANNING, TRAINING, EXPORTING or MEASURING; else empty."""
        return self.snapshot.stage

    @property
    def attempt(self) -> int:
        """How often a worker has claimed the job."""
        return self.snapshot.attempt

    @property
    def progress(self) -> JobProgress | None:
        """How far the training is, if it has begun."""
        return self.snapshot.progress

    @property
    def results(self) -> tuple[TargetResult, ...]:
        """One result per target that has come to an end."""
        return self.snapshot.results

    @property
    def error(self) -> JobFailure | None:
        """Why the job failed, if it did."""
        return self.snapshot.error

    @property
    def done(self) -> bool:
        """Whether the job has come to an end, good or bad."""
        return self.snapshot.done

    def exception(self) -> JobError | None:
        """Returns what `result` would raise of a job that is done; None if it succeeded or still goes on."""
        snapshot = self.snapshot
        if not snapshot.done or snapshot.state == "SUCCEEDED":
            return None
        messages = [result.message for result in snapshot.results if not result.met and result.message]
        reason, message = snapshot.state, "; ".join(messages) or f"The job ended {snapshot.state}"
        if snapshot.error is not None:
            reason, message = snapshot.error.reason or reason, snapshot.error.message or message
        return JOB_STATES.get(snapshot.state, JobFailed)(snapshot.name, reason, message)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or '(validated only)'} {self.state}>"


class ModelView:
    """A trained network as the service keeps it. Nothing here calls the service."""

    _snapshot: ModelSnapshot

    @property
    def snapshot(self) -> ModelSnapshot:
        """Everything that is known of the model."""
        return self._snapshot

    @property
    def name(self) -> str:
        """Resource name, `projects/{project}/models/{id}`."""
        return self.snapshot.name

    @property
    def target_index(self) -> int:
        """Index of the job's target that it was made for."""
        return self.snapshot.target_index

    @property
    def plan(self) -> Plan:
        """What was kept of the architecture."""
        return self.snapshot.plan

    @property
    def met(self) -> bool:
        """Whether every limit of its target is met."""
        return self.snapshot.met

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Its files."""
        return self.snapshot.artifacts

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What was measured, each figure with how."""
        return self.snapshot.measurements

    @property
    def compliance(self) -> tuple[Compliance, ...]:
        """Every limit of its target: asked, achieved, margin, method."""
        return self.snapshot.compliance

    @property
    def widths(self) -> Mapping[str, int]:
        """Kept width of every prunable channel group."""
        return {width.group: width.width for width in self.plan.widths}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{'' if self.met else ' (a limit is missed)'}>"
