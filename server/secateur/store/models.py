"""Models: what jobs left behind and what was measured of it."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy.orm import Session

from secateur.core.datasets import DatasetName, digest_of_content
from secateur.core.devices import DeviceProfile
from secateur.core.missing import missing
from secateur.core.profiles import ProfileName
from secateur.core.reports import ARENA_BYTES, LATENCY_MS, PROCESS_PEAK_BYTES, Measurement, TargetReport
from secateur.core.serial import from_data, to_data
from secateur.core.specs import JobSpec
from secateur.store.families import Family, FamilyRepository
from secateur.store.listings import MODELS
from secateur.store.records import ModelRecord, Page
from secateur.store.tables import ArtifactRow, JobRow, ModelRow


class ModelRepository:
    """Reads and writes models inside one transaction.

    Args:
        session: Session of the transaction.
        families: Versions of families in the same transaction.
    """

    def __init__(self, session: Session, families: FamilyRepository) -> None:
        self._session = session
        self._families = families

    def add(self, job: JobRow, device_profile: DeviceProfile | None, report: TargetReport, now: datetime) -> str:
        """Adds the model that a target left behind and returns its id.

        Args:
            job: The job, locked.
            device_profile: Device profile of the target.
            report: The target's report; it has a plan and at least one artifact.
            now: Current time.

        Raises:
            ValueError: If the report has artifacts but no plan: nobody could say what they are.
        """
        if report.plan is None:
            raise ValueError(
                f"A report with artifacts needs the plan they came from. Received: target {report.target_index} without one"
            )
        spec = from_data(JobSpec, job.spec)
        model = ModelRow(
            id=str(uuid.uuid4()),
            project=job.project,
            job_id=job.id,
            target_index=report.target_index,
            architecture=job.architecture,
            dataset=spec.dataset_id or spec.dataset,
            dataset_digest=digest_of_content(spec.dataset),
            device_profile=device_profile.id if device_profile else None,
            device_profile_project=(device_profile.project or None) if device_profile else None,
            create_time=now,
            report=to_data(report),
            accuracy=report.device_file.accuracy,
            flash_bytes=report.device_file.size_bytes,
            arena_bytes=_whole(measured(report, ARENA_BYTES)),
            parameters=report.plan.cost.parameters,
            macs=report.plan.cost.macs,
            memory_bytes=report.plan.cost.memory_bytes,
            activation_bytes=report.plan.cost.activation_bytes,
            process_peak_bytes=_whole(measured(report, PROCESS_PEAK_BYTES)),
            latency_ms=_value(measured(report, LATENCY_MS)),
        )
        self._session.add(model)
        self._session.flush()
        self._families.touch(Family.of_row(model), now)
        self._session.add_all(
            ArtifactRow(model_id=model.id, format=file.format, sha256=file.sha256, size_bytes=file.size_bytes)
            for file in report.artifacts
        )
        return model.id

    def get(self, project: str, model_id: str) -> ModelRecord:
        """Returns one model.

        Raises:
            NotFound: MODEL_NOT_FOUND, also for a model of another project.
        """
        row = self._session.get(ModelRow, model_id)
        if row is None or row.project != project:
            raise missing("models", project, model_id, field="name")
        return _record(row)

    def list(
        self,
        project: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        filter_text: str = "",
        order_by: str = "",
        show_deleted: bool = False,
    ) -> Page[ModelRecord]:
        """Returns one page of a project's models, newest first unless `order_by` says otherwise; see `Listing.read`."""
        rows, token = MODELS.read(
            self._session, project, page_size, page_token, filter_text, order_by, show_deleted=show_deleted
        )
        return Page(tuple(_record(row) for row in rows), token)


def measured(report: TargetReport, name: str) -> Measurement | None:
    """Returns a measurement of the file that goes onto the device; None if there is none of that name."""
    wanted = (name, report.device_file.format)
    return next((figure for figure in report.measurements if (figure.name, figure.format) == wanted), None)


def _value(measurement: Measurement | None) -> float | None:
    return measurement.value if measurement else None


def _whole(measurement: Measurement | None) -> int | None:
    return int(measurement.value) if measurement else None


def _record(row: ModelRow) -> ModelRecord:
    return ModelRecord(
        id=row.id,
        project=row.project,
        job_id=row.job_id,
        architecture=row.architecture,
        dataset=DatasetName(row.dataset, row.project if row.dataset_digest else ""),
        device_profile=ProfileName(row.device_profile, row.device_profile_project or "") if row.device_profile else None,
        report=from_data(TargetReport, row.report),
        create_time=row.create_time,
    )
