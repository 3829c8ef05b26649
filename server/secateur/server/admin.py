"""The operator's command line, which works on the database itself: `secateur-admin`, or `python -m secateur.server.admin`.

Whoever can write to the database may do everything anyway, so that the first token needs no token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import typer

from secateur.core.access import PROJECT_ID, Scope, Token
from secateur.server import forgetting
from secateur.server.presence import WorkerState, look_around
from secateur.store import Store
from secateur.store.logs import configure_logs
from secateur.store.records import AuditRecord, TokenRecord
from secateur.store.settings import LONGEST_DAYS, Settings
from secateur.store.startup import check_migrated, starting

_DURATION: Final = re.compile("([1-9][0-9]{0,5})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MOST_RECORDS: Final = 10_000

app = typer.Typer(
    name="secateur-admin", help="Looks after a Secateur server.", no_args_is_help=True, pretty_exceptions_enable=False
)
tokens = typer.Typer(help="API tokens: who may call.", no_args_is_help=True)
audit = typer.Typer(help="The audit log: who has changed what.", no_args_is_help=True)
app.add_typer(tokens, name="tokens")
app.add_typer(audit, name="audit")


def _project(value: str) -> str:
    if not PROJECT_ID.fullmatch(value):
        raise typer.BadParameter(f"A project id is small letters, digits and hyphens, a letter first. Received: {value!r}")
    return value


def _duration(value: str) -> timedelta:
    found = _DURATION.fullmatch(value)
    if found is None:
        raise typer.BadParameter(f"A time is a number and a unit of s, m, h, d or w, such as 90d. Received: {value!r}")
    duration = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if duration > timedelta(days=LONGEST_DAYS):
        raise typer.BadParameter(f"A time is at most {LONGEST_DAYS}d. Received: {value!r}")
    return duration


Project = Annotated[str | None, typer.Option(help="Project id.", parser=_project, show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


@tokens.command("create")
def create_token(
    scope: Annotated[
        Scope, typer.Option(help="device: read models; operator: all of a project; admin: that, of all projects.")
    ],
    project: Project = None,
    all_projects: Annotated[bool, typer.Option("--all-projects", help="Of all projects; only for scope admin.")] = False,
    expires_in: Annotated[
        timedelta | None,
        typer.Option(help="When it ends, such as 90d. Default: never.", parser=_duration, metavar="TIME", show_default=False),
    ] = None,
    title: Annotated[str, typer.Option(help="What it is for, at most 63 characters.", show_default=False)] = "",
) -> None:
    """Makes a token and prints it on standard output. It is shown this once: nothing of it is kept but a digest."""
    if all_projects == (project is not None):
        received = "both" if all_projects else "neither"
        raise typer.BadParameter(f"A token is for one --project, or for --all-projects. Received: {received}")
    if all_projects and scope is not Scope.ADMIN:
        raise typer.BadParameter(f"Only a token of scope admin is for all projects. Received: scope {scope}")
    if len(title) > 63:
        raise typer.BadParameter(f"A title has at most 63 characters. Received: {len(title)}")
    token = Token.generate()
    with _store() as store, store.unit_of_work() as work:
        expire_time = work.now() + expires_in if expires_in is not None else None
        work.tokens.create(token, scope=scope, project=project, title=title, expire_time=expire_time)
        work.commit()
    typer.echo(token.text)
    typer.echo(f"Token {token.id}: keep the line above, it is not shown again.", err=True)


@tokens.command("list")
def list_tokens(project: Project = None, as_json: Json = False) -> None:
    """Lists tokens, oldest first."""
    with _store() as store, store.snapshot() as work:
        found, now = work.tokens.list(project), work.now()
    _show((_token_row(record, now) for record in found), as_json=as_json)


@tokens.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Argument(help="Id of the token, the part between sct_ and the secret; or all of it.")],
) -> None:
    """Ends a token. Servers notice within SECATEUR_TOKEN_CACHE_SECONDS."""
    whole = Token.parse(token_id)
    with _store() as store, store.unit_of_work() as work:
        record = work.tokens.revoke(whole.id if whole else token_id)
        work.commit()
    typer.echo(f"Token {record.id} is revoked.", err=True)


@audit.command("list")
def list_audit(
    project: Project = None,
    token: Annotated[str | None, typer.Option(help="Id of a token.", show_default=False)] = None,
    since: Annotated[
        timedelta | None,
        typer.Option(help="How far back, such as 7d. Default: all.", parser=_duration, metavar="TIME", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(help="Most records.", min=1, max=_MOST_RECORDS)] = 100,
    as_json: Json = False,
) -> None:
    """Lists what was changed, newest first."""
    with _store() as store, store.snapshot() as work:
        start = work.now() - since if since is not None else None
        found = work.audit.list(project=project, token=token, since=start, limit=limit)
    _show(map(_audit_row, found), as_json=as_json)


@audit.command("prune")
def prune_audit(
    older_than: Annotated[timedelta, typer.Option(help="Age, such as 400d.", parser=_duration, metavar="TIME")],
) -> None:
    """Deletes old records."""
    with _store() as store:
        deleted = forgetting.prune_audit(store, older_than)
    typer.echo(f"{deleted} records are deleted.", err=True)


@app.command("workers")
def list_workers(
    seconds: Annotated[
        float, typer.Option("--timeout", help="Seconds in which workers have to answer.", min=0.1, max=60)
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Lists the workers: what they take, and their job. Status 1 if jobs wait in a queue that no worker takes."""
    with _store() as store:
        found = look_around(store, Settings().celery_broker_url, seconds=seconds)
    _show(map(_worker_row, found.workers), as_json=as_json)
    for name, count in found.namesakes.items():
        typer.echo(
            f"Worker {name}: {count} workers answer by this name; give each a SECATEUR_WORKER_NAME of its own.", err=True
        )
    for need, jobs in found.stranded.items():
        typer.echo(f"Queue {need}: no worker that answers takes it; jobs that wait: {jobs}.", err=True)
    if found.stranded:
        raise typer.Exit(1)


def main() -> None:
    """Runs the command line. Entry point of `secateur-admin`."""
    configure_logs("ERROR")  # an outage is told once, and standard output is for what was asked for alone
    with starting("secateur-admin"):
        app()


@contextmanager
def _store() -> Iterator[Store]:
    settings = Settings()
    check_migrated(settings.database_url)
    with closing(Store(settings.database_url, timeouts=settings.database_timeouts)) as store:
        yield store


def _token_row(record: TokenRecord, now: datetime) -> dict[str, str]:
    if record.revoke_time is not None:
        state = "revoked"
    elif record.expire_time is not None and record.expire_time <= now:
        state = "expired"
    else:
        state = "good"
    return {
        "token": record.id,
        "scope": record.scope.value,
        "project": record.project or "*",
        "state": state,
        "created": _time(record.create_time),
        "expires": _time(record.expire_time),
        "title": record.title,
    }


def _audit_row(record: AuditRecord) -> dict[str, str]:
    return {
        "time": _time(record.time),
        "token": record.token or "-",
        "project": record.project or "-",
        "method": record.method,
        "code": record.code,
        "resource": record.resource or "-",
        "request_id": record.request_id,
    }


def _worker_row(worker: WorkerState) -> dict[str, str]:
    return {
        "worker": worker.name,
        "queues": ",".join(worker.queues) if worker.queues is not None else "no answer",
        "jobs": ",".join(worker.jobs) or "-",
    }


def _time(time: datetime | None) -> str:
    return time.isoformat(timespec="seconds") if time is not None else "never"


def _show(rows: Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    for row in rows:
        typer.echo(json.dumps(row) if as_json else "  ".join(row.values()))


if __name__ == "__main__":
    main()
