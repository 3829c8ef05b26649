"""Shows models and reads their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from secateur.core.errors import FailedPrecondition, NotFound
from secateur.core.reports import ArtifactReport
from secateur.server.lists import ListRows
from secateur.store import Store
from secateur.store.blobs import BlobStore
from secateur.store.records import ModelRecord, Page
from secateur.store.tables import Deletable


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


def list_models(query: ListRows, *, store: Store) -> Page[ModelRecord]:
    """Returns one page of a project's models, newest first unless asked otherwise.

    Raises:
        InvalidArgument: FILTER_INVALID, ORDER_INVALID or PAGE_TOKEN_INVALID.
    """
    with store.snapshot() as work:
        page = work.models.list(
            query.project,
            page_size=query.page_size,
            page_token=query.page_token,
            filter_text=query.filter_text,
            order_by=query.order_by,
            show_deleted=query.show_deleted,
        )
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
