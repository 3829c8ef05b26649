"""The store's door: one transaction at a time, all repositories inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from secateur.core.errors import Unavailable
from secateur.store.architectures import ArchitectureRepository
from secateur.store.audit import AuditRepository
from secateur.store.clock import DatabaseClock
from secateur.store.creation import Creation
from secateur.store.database import Timeouts, is_passing, make_engine, read_only
from secateur.store.datasets import DatasetRepository
from secateur.store.device_profiles import DeviceProfileRepository
from secateur.store.families import Family, FamilyRepository
from secateur.store.jobs import JobRepository
from secateur.store.journal import Journal
from secateur.store.models import ModelRepository
from secateur.store.needs import Needs
from secateur.store.outbox import OutboxRepository
from secateur.store.quotas import QuotaRepository, Quotas
from secateur.store.references import References
from secateur.store.requests import RequestKeys
from secateur.store.tokens import TokenRepository
from secateur.store.trash import Trash
from secateur.store.wakeups import Wakeups

_log = structlog.get_logger(__name__)


class Snapshot:
    """The repositories inside one transaction that is only read from.

    Attributes:
        architectures: Architectures.
        datasets: Data sets of projects.
        device_profiles: Device profiles of projects.
        families: Models as numbers to choose by.
        jobs: Jobs.
        models: Models.
        outbox: Messages that the queue is owed.
        requests: Idempotency keys.
        tokens: API tokens.
        audit: The audit log.
        quotas: What projects may take.
        references: What is referred to in the blob store.
        trash: What was deleted.
        now: Returns the current time. The machine's own may be wrong.
    """

    def __init__(self, session: Session, instead: Callable[[], datetime] | None, quotas: Quotas) -> None:
        self.now = clock = DatabaseClock(session, instead)
        self.architectures = ArchitectureRepository(session, clock)
        self.quotas = QuotaRepository(session, clock, quotas)
        self.families = FamilyRepository(session)
        self.datasets = DatasetRepository(session, clock, self.quotas, self.families)
        self.journal = Journal(session, clock, Needs(session, self.datasets))
        self.requests = requests = RequestKeys(session, clock)
        self.device_profiles = DeviceProfileRepository(session, clock, requests)
        self.trash = Trash(session, clock, lambda model: self.families.touch(Family.of_row(model), clock()))
        creation = Creation(session, self.journal, requests, self.quotas)
        self.jobs = JobRepository(session, self.journal, requests, creation, self.trash)
        self.models = ModelRepository(session, self.families)
        self.outbox = OutboxRepository(session)
        self.tokens = TokenRepository(session, clock)
        self.audit = AuditRepository(session)
        self.references = References(session)


class UnitOfWork(Snapshot):
    """The repositories inside one transaction. What is not committed is rolled back.

    Attributes:
        session: Session of the transaction; for the store's own modules.
        journal: Moves jobs; for the store's own modules.
    """

    def __init__(self, session: Session, clock: Callable[[], datetime] | None, quotas: Quotas, wakeups: Wakeups | None) -> None:
        super().__init__(session, clock, quotas)
        self.session = session
        self._wakeups = wakeups

    def commit(self) -> None:
        """Makes all changes durable, then wakes whoever watches a changed job."""
        self.requests.write()
        self.session.commit()
        if self._wakeups is not None:
            self._wakeups.publish(*self.journal.touched)


class Store:
    """Everything that is kept in the database. Safe to share between threads.

    Args:
        database_url: SQLAlchemy URL of a migrated SQLite file or PostgreSQL database.
        timeouts: How long the database is waited for.
        wakeups: Told about changed jobs after each commit; None if nobody watches.
        quotas: What each project may take.
        clock: Returns the current time, aware; None for the database's own, which is the same for everybody.
    """

    def __init__(
        self,
        database_url: str,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
        wakeups: Wakeups | None = None,
        quotas: Quotas = Quotas(),  # noqa: B008 - immutable
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._engine = make_engine(database_url, timeouts)
        self._read_engine = read_only(self._engine)
        self._wakeups = wakeups
        self._quotas = quotas
        self._clock = clock

    @contextmanager
    def unit_of_work(self) -> Iterator[UnitOfWork]:
        """Opens a transaction; call `commit` in it to keep what it did. It excludes other writers where that is needed.

        Raises:
            Unavailable: DATABASE_UNAVAILABLE, also for what happens in it; see `secateur.store.database.Timeouts`.
        """
        with _available(), Session(self._engine, expire_on_commit=False) as session:
            yield UnitOfWork(session, self._clock, self._quotas, self._wakeups)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Opens a transaction that only reads: it sees one unchanging moment and never waits for a writer.

        Raises:
            Unavailable: DATABASE_UNAVAILABLE, also for what happens in it.
        """
        with _available(), Session(self._read_engine) as session:
            yield Snapshot(session, self._clock, self._quotas)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if not is_passing(error):
            raise
        _log.warning("database_unavailable", error=str(error.orig))
        raise Unavailable(
            "DATABASE_UNAVAILABLE",
            "The database did not answer in time, cannot be reached or cannot write; send the same request again",
        ) from error
