"""The operator's command line, on a database that a server uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import time_machine
from typer.testing import CliRunner, Result

from secateur.core.access import Scope, Token
from secateur.core.errors import NotFound, Unavailable
from secateur.server.admin import app
from secateur.server.broker import make_celery
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.store.records import AuditRecord
from secateur.v1 import job_service_pb2 as jobs
from tests.support.access import authorized
from tests.support.server import Api, refusal, running
from tests.support.stack import until

CREATE = "/secateur.v1.JobService/CreateJob"


@pytest.fixture(autouse=True)
def environment(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_DATA_DIR", str(settings.data_dir))


@pytest.fixture
def project() -> str:
    return f"p-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def guarded(settings: ServerSettings) -> Iterator[grpc.Channel]:
    chosen = settings.model_copy(update={"authentication": "tokens", "token_cache_seconds": 0.2})
    with running(chosen) as server, grpc.insecure_channel(server.address) as channel:
        yield channel


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def rows(result: Result) -> list[dict[str, str]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_token_that_is_made_is_good_until_it_is_revoked(guarded: grpc.Channel, project: str) -> None:
    made = run("tokens", "create", "--project", project, "--scope", "operator", "--expires-in", "90d", "--title", "CI")
    token = Token.parse(made.stdout.strip())
    assert token is not None
    assert token.secret not in made.stderr
    api = Api(authorized(guarded, token), project)
    request = jobs.ListJobsRequest(parent=api.parent)
    api.jobs.ListJobs(request)

    (listed,) = [row for row in rows(run("tokens", "list", "--project", project, "--json")) if row["token"] == token.id]
    assert (listed["scope"], listed["project"], listed["state"], listed["title"]) == ("operator", project, "good", "CI")
    left = datetime.fromisoformat(listed["expires"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)

    assert run("tokens", "revoke", token.id).exit_code == 0
    time.sleep(0.2)
    assert refusal(lambda: api.jobs.ListJobs(request)).reason == "TOKEN_REVOKED"
    assert token.secret not in run("tokens", "list").output
    assert f"{token.id}  operator  {project}  revoked" in run("tokens", "list").stdout


def test_a_token_that_is_given_whole_is_revoked_and_not_repeated(project: str) -> None:
    token = run("tokens", "create", "--project", project, "--scope", "device").stdout.strip()
    revoked = run("tokens", "revoke", token)
    assert (revoked.exit_code, revoked.stdout) == (0, "")
    assert token.rpartition("_")[2] not in revoked.stderr
    assert "  revoked  " in run("tokens", "list", "--project", project).stdout


def test_what_the_clock_of_the_operator_says_does_not_matter(guarded: grpc.Channel, project: str) -> None:
    with time_machine.travel(datetime.now(UTC) - timedelta(hours=2), tick=True):
        made = run("tokens", "create", "--project", project, "--scope", "operator", "--expires-in", "1h")
        assert "  good  " in run("tokens", "list", "--project", project).stdout
    token = Token.parse(made.stdout.strip())
    assert token is not None
    api = Api(authorized(guarded, token), project)
    api.jobs.ListJobs(jobs.ListJobsRequest(parent=api.parent))


def test_an_admin_may_be_for_all_projects(guarded: grpc.Channel, project: str) -> None:
    token = Token.parse(run("tokens", "create", "--all-projects", "--scope", "admin").stdout.strip())
    assert token is not None
    api = Api(authorized(guarded, token), project)
    assert api.create_job().name.startswith(api.parent)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--scope", "operator"], "--all-projects. Received: neither"),
        (["--scope", "admin", "--project", "default", "--all-projects"], "--all-projects. Received: both"),
        (["--scope", "device", "--all-projects"], "Only a token of scope admin"),
        (["--scope", "root", "--project", "default"], "root"),
        (["--scope", "device", "--project", "No Such"], "small letters"),
        (["--scope", "device", "--project", "default", "--expires-in", "soon"], "90d"),
        (["--scope", "device", "--project", "default", "--title", "x" * 64], "63 characters"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], problem: str, store: Store) -> None:
    with store.snapshot() as work:
        before = work.tokens.list()
    result = run("tokens", "create", *arguments)
    assert result.exit_code == 2
    assert problem in " ".join(result.stderr.replace("│", " ").split())
    with store.snapshot() as work:
        assert work.tokens.list() == before


def test_the_audit_log_is_listed_newest_first_and_pruned(store: Store, project: str) -> None:
    now = datetime.now(UTC)
    kept = [
        AuditRecord(
            now - timedelta(days=age), "t1", project, "/secateur.v1.JobService/CreateJob", f"job-{age}", "OK", f"r{age}"
        )
        for age in (350, 10, 0)  # no server prunes them of itself
    ]
    with store.unit_of_work() as work:
        work.audit.add(kept)
        work.commit()

    def listed(*arguments: str) -> list[str]:
        return [row["resource"] for row in rows(run("audit", "list", "--project", project, "--json", *arguments))]

    assert listed() == ["job-0", "job-10", "job-350"]
    assert listed("--since", "11d") == ["job-0", "job-10"]
    assert listed("--limit", "1") == ["job-0"]
    assert listed("--token", "t2") == []
    assert "1 records are deleted" in run("audit", "prune", "--older-than", "300d").stderr
    assert listed() == ["job-0", "job-10"]
    (line,) = run("audit", "list", "--project", project, "--limit", "1").stdout.splitlines()
    assert line.split()[1:] == ["t1", project, CREATE, "OK", "job-0", "r0"]


def test_a_server_prunes_what_is_older_than_its_setting(settings: ServerSettings, store: Store, project: str) -> None:
    now = datetime.now(UTC)
    old, new = (AuditRecord(now - timedelta(days=age), "t1", project, CREATE, "job", "OK", str(age)) for age in (3, 1))
    with store.unit_of_work() as work:
        work.audit.add([old, new])
        work.commit()

    def kept() -> tuple[AuditRecord, ...]:
        with store.snapshot() as work:
            return work.audit.list(project=project, limit=9)

    with running(settings.model_copy(update={"audit_days": 2.0})):
        until(lambda: kept() == (new,), "the older one is gone")


@pytest.mark.parametrize("command", [("list", "--since"), ("prune", "--older-than")])
def test_a_time_before_the_calendar_is_refused(command: tuple[str, str]) -> None:
    found = run("audit", *command, "999999w")
    assert found.exit_code == 2
    assert "at most 36500d" in " ".join(found.stderr.replace("│", " ").split())


def test_what_cannot_be_done_is_one_line(settings: ServerSettings, tmp_path: Path) -> None:
    missing = run("tokens", "revoke", "nobody").exception
    assert isinstance(missing, NotFound)
    command = [sys.executable, "-m", "secateur.server.admin", "audit", "list"]
    env = {**os.environ, "SECATEUR_DATA_DIR": str(tmp_path)}
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("secateur-admin: The database lacks the tables")
    assert len(found.stderr.splitlines()) == 1


def test_scopes_are_told_apart_in_the_help() -> None:
    text = run("tokens", "create", "--help").stdout
    for scope in Scope:
        assert scope.value in text


@contextmanager
def answering(settings: ServerSettings, name: str, queue: str) -> Iterator[None]:
    """Answers as a worker does that takes a queue."""
    over = threading.Event()
    with make_celery(settings.celery_broker_url) as celery, celery.connection_for_read() as connection:
        handlers = {"active_queues": lambda _state, **_: [{"name": queue}]}
        node = celery.control.mailbox.Node(f"celery@{name}", channel=connection.default_channel, handlers=handlers)
        node.listen(callback=node.handle_message)

        def answer() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.05)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def test_workers_of_one_name_are_told_of(settings: ServerSettings) -> None:
    with answering(settings, "left", "cpu"), answering(settings, "left", "gpu"), answering(settings, "right", "cpu"):
        for seconds in ("0.5", "10"):  # the longer for a busy machine
            found = run("workers", "--json", "--timeout", seconds)
            queues = [(row["worker"], row["queues"]) for row in rows(found)]
            if queues == [("left", "cpu,gpu"), ("right", "cpu")]:
                break
        else:
            pytest.fail(found.output)
    assert found.stderr == "Worker left: 2 workers answer by this name; give each a SECATEUR_WORKER_NAME of its own.\n"
    assert found.exit_code == 0


def test_workers_cannot_be_asked_without_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECATEUR_REDIS_URL", f"unix://{tmp_path}/redis.sock")
    error = run("workers").exception
    assert isinstance(error, Unavailable)
    assert error.reason == "BROKER_UNAVAILABLE"
