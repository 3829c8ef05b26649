"""Shows models, resolves the one that fits a device and reads its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from secateur.core import catalog, datasets, devices
from secateur.core.errors import InvalidArgument, NotFound
from secateur.core.reports import ArtifactReport
from secateur.core.resources import Budget, Compliance
from secateur.core.specs import Target
from secateur.server import names
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.records import ModelRecord, Page


@dataclass(frozen=True, slots=True)
class ResolveModel:
    """What a device asks for.

    Args:
        project: Project of the family.
        architecture: Id of the family's architecture.
        dataset: Id of the family's data set.
        target: Device profile and limits of the device.
    """

    project: str
    architecture: str
    dataset: str
    target: Target


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
        limit: Most bytes; None for all.
    """

    project: str
    model: str
    artifact: str
    offset: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class OpenArtifact:
    """A file, and its bytes from the offset on."""

    artifact: ArtifactReport
    chunks: Iterator[bytes]


def get_model(project: str, model_id: str, *, store: Store) -> ModelRecord:
    """Returns a model.

    Raises:
        NotFound: MODEL_NOT_FOUND.
    """
    with store.snapshot() as work:
        return work.models.get(project, model_id)


def list_models(project: str, page_size: int, page_token: str, *, store: Store) -> Page[ModelRecord]:
    """Returns one page of a project's models, newest first.

    Raises:
        InvalidArgument: PAGE_TOKEN_INVALID.
    """
    with store.snapshot() as work:
        return work.models.list(project, page_size=page_size, page_token=page_token)


def open_artifact(query: ReadArtifact, *, store: Store, blobs: BlobStore) -> OpenArtifact:
    """Opens a file of a model at an offset.

    Raises:
        NotFound: MODEL_NOT_FOUND or ARTIFACT_NOT_FOUND.
        InvalidArgument: READ_OFFSET_INVALID, if the offset lies behind the end.
    """
    model = get_model(query.project, query.model, store=store)
    artifact = next((file for file in model.report.artifacts if file.format.value == query.artifact), None)
    if artifact is None:
        known = ", ".join(file.format.value for file in model.report.artifacts)
        raise NotFound(
            "ARTIFACT_NOT_FOUND", f"This model has no such file; it has: {known}. Received: {query.artifact}", field="name"
        )
    if query.offset > artifact.size_bytes:
        raise InvalidArgument(
            "READ_OFFSET_INVALID",
            f"The file has {artifact.size_bytes} bytes; start within them. Received: {query.offset}",
            field="read_offset",
        )
    return OpenArtifact(artifact, blobs.read(artifact.sha256, query.offset, query.limit))
