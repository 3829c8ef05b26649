"""No secret leaves the place where it belongs: a real server, as talkative as it can be, through good calls and bad ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import trustme
from sqlalchemy import make_url, select

from migrations.upgrade import upgrade
from secateur.core.access import Scope, Token
from secateur.store import Store
from secateur.store.database import make_engine
from secateur.store.tables import Base
from secateur.v1 import job_service_pb2 as jobs
from tests.support.access import METHODS, authorized, call, issue, request_of, revoke
from tests.support.postgres import Postgres
from tests.support.server import Api, server_process
from tests.support.stack import until

PROJECT: Final = "default"
DATABASE_PASSWORD: Final = "pw-of-the-database"
REDIS_PASSWORD: Final = "pw-of-the-cache"
BASIC: Final = "b3BlcmF0b3I6cGFzc3dvcmQ="


@dataclass
class Seen:
    """What an outsider, or somebody with the logs or a dump of the database, gets to see."""

    log: str
    rows: str
    errors: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def seen(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> tuple[Seen, dict[str, str]]:
    """Runs the server through everything, once; gives what was to be seen, and the secrets that were used."""
    folder = tmp_path_factory.mktemp("secrets")
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    own = ca.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(folder / "key.pem")
    own.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    with postgres.database() as bare_url:
        url = make_url(bare_url).set(password=DATABASE_PASSWORD).render_as_string(hide_password=False)
        upgrade(url)
        store = Store(url)
        tokens = {
            "operator": issue(store, Scope.OPERATOR, PROJECT),
            "device": issue(store, Scope.DEVICE, PROJECT),
            "expired": issue(store, Scope.ADMIN, None, expire_time=datetime.now(UTC) - timedelta(days=1)),
            "revoked": issue(store, Scope.ADMIN, None),
            "unknown": Token.generate(),
        }
        revoke(store, tokens["revoked"])
        sent = {name: f"Bearer {token.text}" for name, token in tokens.items()}
        sent |= {"cut": sent["operator"][:-1], "bare": tokens["operator"].text, "basic": f"Basic {BASIC}"}
        with (folder / "log").open("w") as log:
            process = server_process(
                stderr=log,
                data_dir=folder,
                listen_address="127.0.0.1:0",
                log_level="DEBUG",
                database_url=url,
                redis_url=f"unix://:{REDIS_PASSWORD}@{folder}/nowhere.sock",
                authentication="tokens",
                tls_certificate_file=folder / "certificate.pem",
                tls_key_file=folder / "key.pem",
            )
            with process:
                until(lambda: '"serving"' in (folder / "log").read_text(), "the server serves")
                (started,) = [line for line in lines(folder) if line["event"] == "serving"]
                credentials = grpc.ssl_channel_credentials(ca.cert_pem.bytes())
                with grpc.secure_channel(started["address"], credentials) as channel:
                    errors = list(everything(channel, sent))
                until(lambda: bool(audited(store)), "the audit log is written")
        seen = Seen((folder / "log").read_text(), dump(url), errors)
        store.close()
    secrets = {name: token.secret for name, token in tokens.items()}
    passwords = {"database": DATABASE_PASSWORD, "redis": REDIS_PASSWORD, "basic": BASIC}
    key = {"key": (folder / "key.pem").read_text().splitlines()[2]}
    return seen, secrets | passwords | key


def everything(channel: grpc.Channel, sent: dict[str, str]) -> Iterator[str]:
    """Calls every method with every token and yields all that the errors say."""
    Api(authorized(channel, sent["operator"]), PROJECT).create_job()
    for value in sent.values():
        holder = authorized(channel, value)
        for method in METHODS:
            try:
                call(holder, method, request_of(method))
            except grpc.RpcError as error:
                failed: Any = error
                yield f"{failed.details()} {failed.trailing_metadata()} {failed.debug_error_string()}"
        with suppress(grpc.RpcError):
            Api(holder, "somebody-else").jobs.GetJob(jobs.GetJobRequest(name="projects/somebody-else/jobs/1"))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log").read_text().splitlines() if line.startswith("{")]


def audited(store: Store) -> tuple[object, ...]:
    with store.snapshot() as work:
        return work.audit.list(limit=1)


def dump(url: str) -> str:
    engine = make_engine(url)
    with engine.connect() as connection:
        rows = [str(connection.execute(select(table)).all()) for table in Base.metadata.sorted_tables]
    engine.dispose()
    return "\n".join(rows)


@pytest.mark.parametrize("secret", ["operator", "device", "expired", "revoked", "unknown", "database", "redis", "basic", "key"])
@pytest.mark.parametrize("place", ["log", "rows", "errors"])
def test_no_secret_is_to_be_seen(seen: tuple[Seen, dict[str, str]], secret: str, place: str) -> None:
    found, secrets = seen
    text = str(getattr(found, place))
    # A prefix is enough to fail: half a secret is one too.
    assert secrets[secret][:16] not in text


def test_there_was_something_to_be_seen(seen: tuple[Seen, dict[str, str]]) -> None:
    """Everything above would hold of empty logs."""
    found, _ = seen
    for expected in ("TOKEN_REVOKED", "TOKEN_EXPIRED", "TOKEN_INVALID", "TOKEN_MALFORMED", "SCOPE_INSUFFICIENT"):
        assert expected in "".join(found.errors)
    for expected in ('"event": "rpc"', '"event": "audit"', "nowhere.sock", "UNAUTHENTICATED", "PERMISSION_DENIED"):
        assert expected in found.log
    assert "api_tokens" in Base.metadata.tables
    assert "CreateJob" in found.rows
