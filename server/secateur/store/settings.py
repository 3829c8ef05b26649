"""Where the store's parts are: every process reads the same environment variables."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.connection import parse_url

from secateur.store.ages import SHORTEST_GRACE, Ages
from secateur.store.database import Timeouts

LONGEST_DAYS: Final = 36_500
"""Longest time that can be asked for, in days: a hundred years, since the calendar ends."""

Seconds = Annotated[float, Field(le=LONGEST_DAYS * 24 * 3600.0)]
DatabaseSeconds = Annotated[float, Field(le=24 * 3600.0)]
"""PostgreSQL counts milliseconds in 32 bits, and nobody waits for a database for more than a day."""
Days = Annotated[float, Field(le=LONGEST_DAYS)]


PREFIX: Final = "SECATEUR_"
"""What the environment variables of all settings begin with."""

_MEANS_SOMETHING_IN_A_URL: Final = ("?", "#", "%", "::")

_LOGIN: Final = ("username", "password")

_REDIS_NUMBER: Final = re.compile(r"/?|/[0-9]+")

_BLOB_URL: Final = re.compile(r"file:///+[^/].*|s3://[^/@]+(/.*)?")


def _data_dir(path: Path) -> Path:
    # It becomes part of URLs, which SQLAlchemy, Redis, Celery and fsspec each read in their own way.
    folder = path.expanduser().absolute()
    if any(mark in str(folder) for mark in _MEANS_SOMETHING_IN_A_URL):
        raise ValueError(f"A folder without {' '.join(_MEANS_SOMETHING_IN_A_URL)} in its path is needed. Received: {folder}")
    return folder


def _blob_url(url: str) -> str:
    # A sweep deletes in this folder, so it has to be one that somebody has chosen. It may carry a password.
    if not _BLOB_URL.fullmatch(url):
        raise ValueError("A blob store is file:///PATH, s3://BUCKET or s3://BUCKET/PREFIX; what was received is none of these")
    return url


def _redis_url(url: str) -> str:
    try:
        parsed = parse_url(url)  # type: ignore[no-untyped-call]
        # A database that is no number is 0 to Redis's own client, while Celery ends on it.
        good = "path" in parsed if url.startswith("unix:") else _REDIS_NUMBER.fullmatch(urlsplit(url).path)
    except ValueError:
        good = False
    if not good:
        # What is wrong with it may be its password.
        raise ValueError("A Redis is redis://:PASSWORD@HOST:PORT/NUMBER, rediss://... or unix:///PATH; give one of these")
    return url


def _under_data_dir(pattern: str) -> Any:
    # A URL may carry a password: neither `repr` nor a message shows one.
    return Field(default_factory=lambda known: pattern.format(known["data_dir"]), repr=False)


class Settings(BaseSettings):
    """Settings shared by server, workers and migrations; `SECATEUR_DATABASE_URL` and so on override the defaults.

    Args:
        data_dir: Folder of everything that has no URL of its own.
        database_url: SQLAlchemy URL of a SQLite file or a PostgreSQL database.
        lock_timeout_seconds: How long a transaction waits for what another one holds.
        statement_timeout_seconds: How long a statement may run on PostgreSQL; 0 for ever.
        redis_url: Redis for the queue and the wake-ups; `unix://` for a socket.
        blob_url: Folder of the blob store: `file:///PATH`, `s3://BUCKET` or `s3://BUCKET/PREFIX`.
        lease_seconds: How long a worker may stay silent before its job goes to another.
        max_running_jobs: Most jobs of one project that run at once; None for any number.
        max_run_seconds: How long one attempt may run before the job ends EXPIRED; a job may ask for less.
        blob_grace_seconds: How old a blob that nothing refers to must be before it goes, and how long it then lies in
            quarantine.
        upload_retention_seconds: How long an upload that nobody goes on with is kept.
        training_retention_seconds: How long a trained network that jobs share is kept.
        deleted_retention_seconds: How long what was deleted can be undeleted.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    may_be_empty: ClassVar[frozenset[str]] = frozenset()
    """Settings that mean something when they are empty."""

    data_dir: Annotated[Path, AfterValidator(_data_dir)] = Field(default=Path("~/.local/share/secateur"), validate_default=True)
    database_url: str = _under_data_dir("sqlite:///{}/secateur.db")
    lock_timeout_seconds: DatabaseSeconds = Field(default=Timeouts.lock_seconds, gt=0)
    statement_timeout_seconds: DatabaseSeconds = Field(default=Timeouts.statement_seconds, ge=0)
    redis_url: Annotated[str, AfterValidator(_redis_url)] = _under_data_dir("unix://{}/redis.sock")
    blob_url: Annotated[str, AfterValidator(_blob_url)] = _under_data_dir("file://{}/blobs")
    lease_seconds: Seconds = Field(default=30.0, gt=0)
    max_running_jobs: int | None = Field(default=None, ge=1)
    max_run_seconds: Seconds = Field(default=24 * 3600.0, gt=0)
    blob_grace_seconds: Seconds = Field(default=24 * 3600.0, ge=SHORTEST_GRACE.total_seconds())
    upload_retention_seconds: Seconds = Field(default=7 * 24 * 3600.0, gt=0)
    training_retention_seconds: Seconds = Field(default=30 * 24 * 3600.0, gt=0)
    deleted_retention_seconds: Seconds = Field(default=30 * 24 * 3600.0, ge=3600)

    @field_validator("*", mode="before")
    @classmethod
    def _not_empty(cls, value: object, info: ValidationInfo) -> object:
        # A deployment sets it empty if a variable of its own is missing. An empty folder would be the working directory, and an
        # empty certificate authority would be none: that was not meant, nor was the default.
        if value == "" and info.field_name not in cls.may_be_empty:
            raise ValueError("It is set but empty; give it a value or do not set it")
        return value

    @property
    def database_timeouts(self) -> Timeouts:
        """How long the database is waited for."""
        return Timeouts(self.lock_timeout_seconds, self.statement_timeout_seconds)

    @property
    def ages(self) -> Ages:
        """How old what nobody needs has to be before it goes."""
        return Ages(
            grace=timedelta(seconds=self.blob_grace_seconds),
            uploads=timedelta(seconds=self.upload_retention_seconds),
            trainings=timedelta(seconds=self.training_retention_seconds),
        )

    @property
    def celery_broker_url(self) -> str:
        """The Redis URL as Celery writes it."""
        scheme, _, rest = self.redis_url.partition("://")
        if scheme != "unix":
            return self.redis_url
        socket, _, query = rest.partition("?")
        options = [("virtual_host" if name == "db" else name, value) for name, value in parse_qsl(query) if name not in _LOGIN]
        # Celery reads them in front of the path only, Redis's own client in the query too.
        user, password = (quote(parse_url(self.redis_url).get(name, ""), safe="") for name in _LOGIN)  # type: ignore[no-untyped-call]
        login = f"{user}:{password}@" if password else ""
        return f"redis+socket://{login}/{socket.partition('/')[2]}" + (f"?{urlencode(options)}" if options else "")
