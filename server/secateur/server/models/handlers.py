"""Shows models, resolves the one that fits a device and reads its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from secateur.core import catalog
from secateur.core.catalog import Candidate, Figure
from secateur.core.datasets import DatasetName
from secateur.core.devices import Runtime
from secateur.core.errors import FailedPrecondition, NotFound
from secateur.core.planning import merged
from secateur.core.reports import ARENA_BYTES, PROCESS_PEAK_BYTES, ArtifactReport
from secateur.core.resources import Compliance, Resource
from secateur.server.datasets.handlers import find_dataset
from secateur.server.device_profiles.handlers import find_profile
from secateur.server.plans.handlers import AskedTarget
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.records import ModelRecord, Page
from secateur.store.tables import Deletable
from secateur.store.unit_of_work import Snapshot

_RAM_MEASUREMENTS: Final = {Runtime.TFLM: ARENA_BYTES, Runtime.LITERT: PROCESS_PEAK_BYTES}
"""Which measurement tells the RAM that a model takes, by what runs it."""


@dataclass(frozen=True, slots=True)
class ResolveModel:
    """What a device asks for.

    Args:
        project: Project of the family.
        architecture: Id of the family's architecture.
        dataset: The family's data set.
        target: Device profile and limits of the device.
    """

    project: str
    architecture: str
    dataset: DatasetName
    target: AskedTarget


@dataclass(frozen=True, slots=True)
class Resolution:
    """The model that fits.

    Args:
        model: The most accurate one.
        artifact: Its file for the device.
        compliance: Every limit of the device against it.
        fitting_models: How many models of the family fit.
    """

    model: ModelRecord
    artifact: ArtifactReport
    compliance: tuple[Compliance, ...]
    fitting_models: int


@dataclass(frozen=True, slots=True)
class ReadArtifact:
    """Which bytes of a file are asked for.

    Args:
        project: Project of the model.
        model: Id of the model.
        artifact: Format of the file, as in its resource name.
        offset: First byte.
        limit: Most bytes; 0 for all.
        accept_url: Whether a URL is as good.
    """

    project: str
    model: str
    artifact: str
    offset: int
    limit: int
    accept_url: bool


@dataclass(frozen=True, slots=True)
class OpenArtifact:
    """A file, and its bytes from the offset on; or where to read it, and until when."""

    artifact: ArtifactReport
    chunks: Iterator[bytes]
    url: str = ""
    expire_time: datetime | None = None


def get_model(project: str, model_id: str, *, store: Store) -> ModelRecord:
    """Returns a model.

    Raises:
        NotFound: MODEL_NOT_FOUND.
    """
    with store.snapshot() as work:
        return work.trash.mark(work.models.get(project, model_id))


def list_models(
    project: str, page_size: int, page_token: str, *, store: Store, show_deleted: bool = False
) -> Page[ModelRecord]:
    """Returns one page of a project's models, newest first; with `show_deleted` also those that were deleted.

    Raises:
        InvalidArgument: PAGE_TOKEN_INVALID.
    """
    with store.snapshot() as work:
        page = work.models.list(project, page_size=page_size, page_token=page_token, show_deleted=show_deleted)
        return replace(page, items=work.trash.mark_all(page.items))


def delete_model(project: str, model_id: str, *, allow_missing: bool, keep: timedelta, store: Store) -> ModelRecord | None:
    """Deletes a model, and returns it; None if there is none and that is allowed.

    Raises:
        NotFound: MODEL_NOT_FOUND, also if it was deleted before.
    """
    with store.unit_of_work() as work:
        there = work.trash.delete(Deletable.MODEL, project, model_id, keep=keep, allow_missing=allow_missing)
        model = work.trash.mark(work.models.get(project, model_id)) if there else None
        work.commit()
    return model


def undelete_model(project: str, model_id: str, *, store: Store) -> ModelRecord:
    """Undoes the deletion of a model.

    Raises:
        NotFound: MODEL_NOT_FOUND.
        AlreadyExists: MODEL_NOT_DELETED.
    """
    with store.unit_of_work() as work:
        work.trash.undelete(Deletable.MODEL, project, model_id)
        model = work.models.get(project, model_id)
        work.commit()
    return model


def resolve_model(query: ResolveModel, *, store: Store) -> Resolution:
    """Returns the most accurate model of a family that keeps every limit of a device.

    Raises:
        NotFound: ARCHITECTURE_NOT_FOUND, DATASET_NOT_FOUND, DEVICE_PROFILE_NOT_FOUND, or FAMILY_EMPTY if the family has no
            model.
        InvalidArgument: DATASET_UNKNOWN, DEVICE_PROFILE_UNKNOWN, BUDGET_EMPTY, LIMIT_INVALID or LIMIT_NEEDS_PROFILE.
        FailedPrecondition: NO_MODEL_FITS, naming the limit that binds and the smallest value on offer.
    """
    own = query.target.budget.resolve({}) if query.target.budget else None
    with store.snapshot() as work:
        profile = find_profile(query.target.device_profile, query.project, work)
        limits = merged(own, profile)
        digest = _digest_of(query.dataset, query.project, work)
        architecture = work.architectures.get(query.project, query.architecture)
        models = work.models.family(query.project, architecture.digest, query.dataset, digest)
        family = {model.id: model for model in models}
    runtime = profile.runtime if profile else Runtime.TFLM
    best, *others = catalog.fit([_candidate(model, runtime) for model in family.values()], limits, profile)
    model = family[best.candidate.id]
    return Resolution(model, model.report.device_file, best.compliance, fitting_models=1 + len(others))


def open_artifact(query: ReadArtifact, *, store: Store, blobs: BlobStore, url_seconds: int) -> OpenArtifact:
    """Opens a file of a model at an offset, or tells where it can be read.

    Args:
        query: What is asked for.
        store: Where models are.
        blobs: Where their files are.
        url_seconds: How long a URL is good for; 0 for no URLs.

    Raises:
        NotFound: MODEL_NOT_FOUND or ARTIFACT_NOT_FOUND.
        FailedPrecondition: MODEL_DELETED.
        InvalidArgument: READ_OFFSET_INVALID, if the offset lies behind the end.
    """
    model = get_model(query.project, query.model, store=store)
    if model.deletion:
        raise FailedPrecondition(
            "MODEL_DELETED", f"This model was deleted; undelete it first. Received: {query.model}", field="name"
        )
    artifact = next((file for file in model.report.artifacts if file.format.value == query.artifact), None)
    if artifact is None:
        known = ", ".join(file.format.value for file in model.report.artifacts)
        raise NotFound(
            "ARTIFACT_NOT_FOUND", f"This model has no such file; it has: {known}. Received: {query.artifact}", field="name"
        )
    if query.accept_url and url_seconds and (url := blobs.url(artifact.sha256, url_seconds)):
        return OpenArtifact(artifact, iter(()), url, datetime.now(UTC) + timedelta(seconds=url_seconds))
    return OpenArtifact(artifact, blobs.read(artifact.sha256, query.offset, query.limit))


def _digest_of(dataset: DatasetName, project: str, work: Snapshot) -> str | None:
    """Returns the content of a project's data set; None for any: it is built in, or gone, while its models have stayed."""
    if dataset.project == project and work.datasets.find(project, dataset.id) is None:
        return None
    record = find_dataset(dataset, project, work, deleted=True).record
    return record.digest if record else None


def _candidate(model: ModelRecord, runtime: Runtime) -> Candidate:
    """Returns what is known of a model. Its latency on the device is not: it follows from the profile that asks."""
    report = model.report
    assert report.plan is not None  # the store takes no model without its plan
    file = report.device_file
    figures: dict[Resource, Figure] = {
        resource: Figure(value, "counted from the layer graph")
        for resource, value in report.plan.cost.by_resource().items()
        if resource is not Resource.RAM_BYTES
    }
    figures[Resource.FLASH_BYTES] = Figure(file.size_bytes, f"bytes of the {file.format.value} file")
    figures[Resource.ACCURACY] = Figure(file.accuracy, f"{file.format.value} file on {file.test_images} test images")
    for measured in report.measurements:
        if (measured.name, measured.format) == (_RAM_MEASUREMENTS[runtime], file.format):
            figures[Resource.RAM_BYTES] = Figure(measured.value, measured.method)
    return Candidate(model.id, figures, report.plan.cost.work)
