"""Families: the models of one architecture and data set, as numbers to choose by, and a version that tells of changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, and_, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from secateur.core.catalog import Offer
from secateur.core.cost import Work
from secateur.core.datasets import DatasetName
from secateur.core.resources import Resource
from secateur.store.database import is_among
from secateur.store.tables import DatasetRow, FamilyRow, ModelRow
from secateur.store.trash import kept

_INSERTS: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_KEY: Final = (FamilyRow.project, FamilyRow.architecture, FamilyRow.dataset, FamilyRow.uploaded)
_AT_ONCE: Final = 500
"""Families that one statement asks for."""


class Family(NamedTuple):
    """What a family is called.

    Args:
        project: Project of the models.
        architecture: Digest of the architecture.
        dataset: Id of the data set.
        uploaded: Whether the data set is of the project; else it is registered.
    """

    project: str
    architecture: str
    dataset: str
    uploaded: bool

    @classmethod
    def of(cls, project: str, architecture: str, dataset: DatasetName) -> Family:
        """Returns the family of an architecture and a data set, registered or of that project."""
        return cls(project, architecture, dataset.id, bool(dataset.project))

    @classmethod
    def of_row(cls, row: ModelRow) -> Family:
        """Returns the family of a model."""
        return cls(row.project, row.architecture, row.dataset, row.dataset_digest is not None)


class FamilyRepository:
    """Reads families inside one transaction, and keeps their versions.

    Args:
        session: Session of the transaction.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def touch(self, family: Family, now: datetime) -> None:
        """Gives a family its next version. Whoever adds, deletes or brings back one of its models calls this.

        Args:
            family: The family.
            now: Current time.
        """
        insert = _INSERTS[self._session.get_bind().dialect.name]
        statement = insert(FamilyRow).values(**family._asdict(), version=1, change_time=now)
        self._session.execute(
            statement.on_conflict_do_update(
                index_elements=["project", "architecture", "dataset", "uploaded"],
                set_={"version": FamilyRow.version + 1, "change_time": now},
            )
        )

    def touch_dataset(self, project: str, dataset: str, now: datetime) -> None:
        """Gives every family of a project's own data set its next version: which models count depends on its content.

        Args:
            project: The project.
            dataset: Id of the data set.
            now: Current time.
        """
        self._session.execute(
            update(FamilyRow)
            .where(FamilyRow.project == project, FamilyRow.dataset == dataset, FamilyRow.uploaded)
            .values(version=FamilyRow.version + 1, change_time=now)
        )

    def versions(self, families: Sequence[Family]) -> dict[Family, int]:
        """Returns how often each of the families has changed."""
        found = dict.fromkeys(families, 0)
        for first in range(0, len(families), _AT_ONCE):
            some = families[first : first + _AT_ONCE]
            asked = is_among(
                (FamilyRow.uploaded, FamilyRow.project, FamilyRow.dataset, FamilyRow.architecture),
                [(family.uploaded, family.project, family.dataset, family.architecture) for family in some],
            )
            rows = self._session.execute(select(*_KEY, FamilyRow.version).where(asked))
            found |= {Family(row.project, row.architecture, row.dataset, row.uploaded): row.version for row in rows}
        return found

    def changed_since(self, moment: datetime) -> dict[Family, int]:
        """Returns the families that changed at that moment or later, with their versions."""
        rows = self._session.scalars(select(FamilyRow).where(FamilyRow.change_time >= moment))
        return {Family(row.project, row.architecture, row.dataset, row.uploaded): row.version for row in rows}

    def offers(self, family: Family, *, ram_measurement: str) -> tuple[Offer, ...]:
        """Returns every model of a family as numbers; no report is read for them.

        Args:
            family: The family.
            ram_measurement: Which measurement tells the RAM that a model takes: ARENA_BYTES or PROCESS_PEAK_BYTES.
        """
        rows = self._session.execute(
            select(
                ModelRow.id,
                ModelRow.accuracy,
                ModelRow.flash_bytes,
                ModelRow.parameters,
                ModelRow.macs,
                ModelRow.memory_bytes,
                ModelRow.activation_bytes,
                getattr(ModelRow, ram_measurement),
            ).where(_has(family))
        )
        return tuple(Offer(row[0], _figures(*row[1:])) for row in rows)

    def work(self, family: Family) -> dict[str, tuple[Work, ...]]:
        """Returns what the layers of every model of a family do, by the id of the model; latency is predicted from it."""
        rows = self._session.execute(select(ModelRow.id, ModelRow.report["plan"]["cost"]["work"]).where(_has(family)))
        return {model_id: tuple(Work(*each) for each in work) for model_id, work in rows}


def _figures(
    accuracy: float, flash: int, parameters: int, macs: int, memory: int | None, activation: int | None, ram: int | None
) -> dict[Resource, float]:
    known: dict[Resource, float | None] = {
        Resource.ACCURACY: accuracy,
        Resource.FLASH_BYTES: flash,
        Resource.PARAMETERS: parameters,
        Resource.MACS: macs,
        Resource.FLOPS: 2 * macs,
        Resource.MEMORY_BYTES: memory,
        Resource.ACTIVATION_BYTES: activation,
        Resource.RAM_BYTES: ram,
    }
    return {resource: value for resource, value in known.items() if value is not None}


def _has(family: Family) -> ColumnElement[bool]:
    """Returns which models are of a family: not deleted ones, and none of another data set that had the same id before."""
    uploaded = ModelRow.dataset_digest.is_not(None) if family.uploaded else ModelRow.dataset_digest.is_(None)
    other_content = exists().where(
        DatasetRow.project == ModelRow.project,
        DatasetRow.id == ModelRow.dataset,
        DatasetRow.digest != ModelRow.dataset_digest,
    )
    return and_(
        kept(ModelRow),
        ~other_content,
        ModelRow.project == family.project,
        ModelRow.architecture == family.architecture,
        ModelRow.dataset == family.dataset,
        uploaded,
    )
