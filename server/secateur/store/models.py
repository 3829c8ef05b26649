"""Models: what jobs left behind and what was measured of it."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from secateur.core.datasets import DatasetName, digest_of_content
from secateur.core.devices import DeviceProfile
from secateur.core.errors import NotFound
from secateur.core.profiles import ProfileName
from secateur.core.reports import ARENA_BYTES, TargetReport
from secateur.core.serial import from_data, to_data
from secateur.core.specs import JobSpec
from secateur.store.paging import read_page
from secateur.store.records import ModelRecord, Page
from secateur.store.tables import ArtifactRow, JobRow, ModelRow
from secateur.store.trash import kept


class ModelRepository:
    """Reads and writes models inside one transaction.

    Args:
        session: Session of the transaction.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

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
            arena_bytes=_arena_bytes(report),
            parameters=report.plan.cost.parameters,
            macs=report.plan.cost.macs,
        )
        self._session.add(model)
        self._session.flush()
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
            raise NotFound(
                "MODEL_NOT_FOUND", f"There is no such model in project {project}. Received: {model_id}", field="name"
            )
        return _record(row)

    def list(self, project: str, *, page_size: int = 0, page_token: str = "", show_deleted: bool = False) -> Page[ModelRecord]:
        """Returns one page of a project's models, newest first; see `secateur.store.paging.read_page`."""
        where = [] if show_deleted else [kept(ModelRow)]
        rows, token = read_page(self._session, ModelRow, project, page_size, page_token, where=where)
        return Page(tuple(_record(row) for row in rows), token)

    def family(
        self, project: str, architecture: str, dataset: DatasetName, dataset_digest: str | None = None
    ) -> tuple[ModelRecord, ...]:
        """Returns every model of a family that was not deleted, the most accurate first; empty if it has none.

        Args:
            project: Project to search.
            architecture: Digest of the architecture.
            dataset: The data set, registered or of that project.
            dataset_digest: Its content, if it is there: another one may have had its id before. None for any.
        """
        uploaded = ModelRow.dataset_digest.is_not(None) if dataset.project else ModelRow.dataset_digest.is_(None)
        content = [ModelRow.dataset_digest == dataset_digest] if dataset_digest else []
        rows = self._session.scalars(
            select(ModelRow)
            .where(ModelRow.project == project, ModelRow.architecture == architecture, ModelRow.dataset == dataset.id, uploaded)
            .where(kept(ModelRow), *content)
            .order_by(ModelRow.accuracy.desc(), ModelRow.create_time, ModelRow.id)
        )
        return tuple(_record(row) for row in rows)


def _arena_bytes(report: TargetReport) -> int | None:
    return next((int(figure.value) for figure in report.measurements if figure.name == ARENA_BYTES), None)


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
