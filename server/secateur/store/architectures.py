"""Architectures: immutable, content-addressed, one per graph and project."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Final

from cachetools import LRUCache, cached
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from secateur.core import graph as graphs
from secateur.core.cost import Cost
from secateur.core.errors import Conflict
from secateur.core.graph import LayerGraph
from secateur.core.missing import missing
from secateur.core.serial import from_data, to_data
from secateur.store.paging import read_page
from secateur.store.records import ArchitectureRecord, Page
from secateur.store.tables import ArchitectureRow

_GRAPHS_KEPT: Final = 256
"""Networks that are not read anew for every request; one takes up to a few MiB."""


class ArchitectureRepository:
    """Reads and writes architectures inside one transaction.

    Args:
        session: Session of the transaction.
        clock: Returns the current time, aware.
    """

    def __init__(self, session: Session, clock: Callable[[], datetime]) -> None:
        self._session = session
        self._clock = clock

    def put(self, project: str, graph: LayerGraph, cost: Cost, *, display_name: str = "") -> ArchitectureRecord:
        """Stores a graph; the same graph put again is the architecture that is already there, under its first name.

        Raises:
            Conflict: ARCHITECTURE_ID_TAKEN, if another graph has the same id.
        """
        record = ArchitectureRecord(project, graph.digest, display_name, graph, cost, self._clock())
        found = self._session.get(ArchitectureRow, (project, record.id))
        if found is None:
            row = ArchitectureRow(
                project=project,
                id=record.id,
                digest=record.digest,
                display_name=display_name,
                graph=graph.to_dict(),
                cost=to_data(cost),
                create_time=record.create_time,
            )
            try:
                with self._session.begin_nested():
                    self._session.add(row)
            except IntegrityError:  # somebody else put it a moment ago
                found = self._session.get_one(ArchitectureRow, (project, record.id))
            else:
                return record
        if found.digest != graph.digest:  # the ids are 64 bits of the digests: no accident
            raise Conflict(
                "ARCHITECTURE_ID_TAKEN", f"Another architecture of this project has the same id. Received: {record.id}"
            )
        return _record(found)

    def get(self, project: str, architecture_id: str) -> ArchitectureRecord:
        """Returns one architecture.

        Raises:
            NotFound: ARCHITECTURE_NOT_FOUND.
        """
        row = self._session.get(ArchitectureRow, (project, architecture_id))
        if row is None:
            raise missing("architectures", project, architecture_id, field="architecture")
        return _record(row)

    def graph(self, project: str, digest: str) -> LayerGraph:
        """Returns the graph with the given digest. It must be there: jobs refer to it by a foreign key."""
        row = select(ArchitectureRow).where(ArchitectureRow.project == project, ArchitectureRow.digest == digest)
        return _graph(self._session.scalars(row).one())

    def list(self, project: str, *, page_size: int = 0, page_token: str = "") -> Page[ArchitectureRecord]:
        """Returns one page of a project's architectures, newest first; see `secateur.store.paging.read_page`."""
        rows, token = read_page(self._session, ArchitectureRow, project, page_size, page_token)
        return Page(tuple(_record(row) for row in rows), token)


def _key(row: ArchitectureRow) -> tuple[str, str, datetime]:
    return row.project, row.digest, row.create_time


@cached(LRUCache(_GRAPHS_KEPT), key=_key, lock=Lock())
def _graph(row: ArchitectureRow) -> LayerGraph:
    return graphs.from_data(row.graph)  # the column is only read here


def _record(row: ArchitectureRow) -> ArchitectureRecord:
    return ArchitectureRecord(
        project=row.project,
        digest=row.digest,
        display_name=row.display_name,
        graph=_graph(row),
        cost=from_data(Cost, row.cost),
        create_time=row.create_time,
    )
