"""Shows data sets and deletes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from secateur.core import datasets
from secateur.core.datasets import Dataset, DatasetName
from secateur.core.errors import FailedPrecondition, NotFound
from secateur.core.missing import missing
from secateur.server.places import place_of, token_of
from secateur.store import Store
from secateur.store.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from secateur.store.records import DatasetRecord, Page
from secateur.store.tables import Deletable
from secateur.store.unit_of_work import Snapshot


@dataclass(frozen=True, slots=True)
class Shown:
    """A data set as it is shown.

    Args:
        dataset: Its facts.
        record: Where they are kept; None for a built-in one.
    """

    dataset: Dataset
    record: DatasetRecord | None = None

    @property
    def name(self) -> DatasetName:
        """What it is called."""
        return DatasetName(self.dataset.name, self.record.project if self.record else "")


@dataclass(frozen=True, slots=True)
class ListDatasets:
    """Which data sets are listed.

    Args:
        project: Project whose own are listed after the built-in ones; empty for the built-in ones alone.
        page_size: Most rows; 0 for the default.
        page_token: Token of an earlier answer; empty for the first page.
        show_deleted: List those that were deleted too.
    """

    project: str
    page_size: int
    page_token: str
    show_deleted: bool = False


def get_dataset(name: DatasetName, *, store: Store) -> Shown:
    """Returns a data set.

    Raises:
        NotFound: DATASET_NOT_FOUND.
    """
    if name.project:
        with store.snapshot() as work:
            return _shown(work.trash.mark(work.datasets.get(name.project, name.id)))
    if name.id not in datasets.DATASETS:
        raise NotFound(
            "DATASET_NOT_FOUND",
            f"There is no such built-in data set; known: {', '.join(sorted(datasets.DATASETS))}. Received: {name.id}",
            field="name",
        )
    return Shown(datasets.DATASETS[name.id])


def list_datasets(query: ListDatasets, *, store: Store) -> Page[Shown]:
    """Returns one page of data sets by id: the built-in ones, then those of a project.

    Raises:
        InvalidArgument: PAGE_TOKEN_INVALID.
    """
    size = min(query.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    owner, after = place_of(query.page_token, query.project, datasets.DATASETS)
    rest = [Shown(dataset) for name, dataset in sorted(datasets.DATASETS.items()) if not owner and name > after]
    if query.project and len(rest) <= size:
        with store.snapshot() as work:
            own = work.datasets.list(
                query.project,
                after=after if owner else "",
                limit=size - len(rest) + 1,
                show_deleted=query.show_deleted,
            )
            rest += map(_shown, work.trash.mark_all(own))
    page = tuple(rest[:size])
    return Page(page, next_page_token=token_of(page[-1].name.project, page[-1].name.id) if len(page) < len(rest) else "")


def delete_dataset(name: DatasetName, *, allow_missing: bool, keep: timedelta, store: Store) -> Shown | None:
    """Deletes a data set of a project, and returns it; None if there is none and that is allowed.

    Raises:
        NotFound: DATASET_NOT_FOUND, also if it was deleted before.
        FailedPrecondition: DATASET_BUILT_IN, or DATASET_IN_USE by a job that has not ended.
    """
    _check_own(name)
    with store.unit_of_work() as work:
        there = work.trash.delete(Deletable.DATASET, name.project, name.id, keep=keep, allow_missing=allow_missing)
        shown = _shown(work.trash.mark(work.datasets.get(name.project, name.id))) if there else None
        work.commit()
    return shown


def undelete_dataset(name: DatasetName, *, store: Store) -> Shown:
    """Undoes the deletion of a data set.

    Raises:
        NotFound: DATASET_NOT_FOUND.
        AlreadyExists: DATASET_NOT_DELETED.
        FailedPrecondition: DATASET_BUILT_IN.
    """
    _check_own(name)
    with store.unit_of_work() as work:
        work.trash.undelete(Deletable.DATASET, name.project, name.id)
        shown = _shown(work.datasets.get(name.project, name.id))
        work.commit()
    return shown


def _check_own(name: DatasetName) -> None:
    if not name.project:
        raise FailedPrecondition(
            "DATASET_BUILT_IN", f"Only data sets that a project has uploaded can be deleted. Received: {name.id}", field="name"
        )


def find_dataset(name: DatasetName, project: str, work: Snapshot) -> Shown:
    """Returns the data set that a request names.

    Args:
        name: What the request names.
        project: Project that asks. What another project has is not to be told from what nobody has.
        work: Where the project's own data sets are.

    Raises:
        InvalidArgument: DATASET_UNKNOWN, if it is no built-in one.
        NotFound: DATASET_NOT_FOUND, if it is none of the project's own, or was deleted.
    """
    if not name.project:
        return Shown(datasets.get(name.id))
    if name.project != project:
        raise missing("datasets", project, f"one of project {name.project}", field="dataset")
    shown = _shown(work.datasets.get(project, name.id))
    if work.trash.find(Deletable.DATASET, project, name.id):
        raise NotFound(
            "DATASET_NOT_FOUND", f"This data set was deleted; undelete it first. Received: {name.id}", field="dataset"
        )
    return shown


def _shown(record: DatasetRecord) -> Shown:
    return Shown(record.dataset, record)
