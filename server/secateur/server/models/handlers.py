"""Shows models and reads their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from secateur.core.errors import NotFound
from secateur.core.reports import ArtifactReport
from secateur.server.lists import ListRows
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.records import ModelRecord, Page


@dataclass(frozen=True, slots=True)
class ReadArtifact:
    """Which bytes of a file are asked for.

    Args:
        project: Project of the model.
        model: Id of the model.
        artifact: Format of the file, as in its resource name.
        offset: First byte.
        limit: Most bytes; 0 for all.
    """

    project: str
    model: str
    artifact: str
    offset: int
    limit: int


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


def list_models(query: ListRows, *, store: Store) -> Page[ModelRecord]:
    """Returns one page of a project's models, newest first unless asked otherwise.

    Raises:
        InvalidArgument: FILTER_INVALID, ORDER_INVALID or PAGE_TOKEN_INVALID.
    """
    with store.snapshot() as work:
        return work.models.list(
            query.project,
            page_size=query.page_size,
            page_token=query.page_token,
            filter_text=query.filter_text,
            order_by=query.order_by,
        )


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
    return OpenArtifact(artifact, blobs.read(artifact.sha256, query.offset, query.limit))
