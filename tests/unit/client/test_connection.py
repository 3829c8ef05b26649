"""Where a client connects to, and what it lets go over the line."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secateur.client import Client, Retry, Tls, Unavailable, UsageError, aio
from secateur.client._channel import Connection, is_local
from secateur.client.cli import app
from secateur.client.cli.app import Session

TOKEN = "sct_0123456789abcdef_" + "5ec2e7" * 10
EVERYWHERE = "0.0.0.0"
"""An address that is not loopback, and yet reaches this machine."""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADDRESS", "TOKEN", "CA_FILE", "CLIENT_CERTIFICATE_FILE", "CLIENT_KEY_FILE", "CLIENT_INSECURE"):
        monkeypatch.delenv(f"SECATEUR_{name}", raising=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "localhost:1",
        "dns:///localhost:1",
        "ipv4:127.0.0.1:1",
        "unix:/run/secateur.sock",
    ],
)
def test_this_machine_is_spoken_to_in_plain_text(address: str) -> None:
    assert is_local(address)
    assert Connection.of(address, TOKEN, None, None).tls is None


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.7:1",
        "0.0.0.0:1",
        "example.org:1",
        "dns:///example.org:1",
        "[2001:db8::1]:1",
        "localhost.example.org:1",
        "[::]:1",
    ],
)
def test_any_other_machine_over_tls_unless_the_caller_insists(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Connection.of(address, TOKEN, None, None).tls == Tls()
    assert Connection.of(address, TOKEN, None, insecure=True).tls is None
    monkeypatch.setenv("SECATEUR_CLIENT_INSECURE", "1")
    assert Connection.of(address, TOKEN, None, None).tls is None
    assert Connection.of(address, TOKEN, None, insecure=False).tls == Tls()


@pytest.mark.parametrize(("insecure", "start"), [(None, b"\x16\x03"), (True, b"PRI * HTTP/2.0")])
def test_what_goes_over_the_line_to_another_machine_is_a_tls_handshake(insecure: bool | None, start: bytes) -> None:
    received: list[bytes] = []

    def answer_nothing() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(60)
            received.append(connection.recv(65536))

    with socket.create_server((EVERYWHERE, 0)) as listener:
        thread = threading.Thread(target=answer_nothing)
        thread.start()
        address = f"{EVERYWHERE}:{listener.getsockname()[1]}"
        once = Retry(first_contact=0.0)
        with Client(address, token=TOKEN, insecure=insecure, retry=once, timeout=60) as client, pytest.raises(Unavailable):
            client.job("1")
        thread.join()

    assert received[0].startswith(start)


def test_the_environment_says_what_arguments_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_ADDRESS", "secateur.example:443")
    monkeypatch.setenv("SECATEUR_TOKEN", TOKEN)
    monkeypatch.setenv("SECATEUR_CA_FILE", "ca.pem")
    monkeypatch.setenv("SECATEUR_CLIENT_CERTIFICATE_FILE", "own.pem")
    monkeypatch.setenv("SECATEUR_CLIENT_KEY_FILE", "own-key.pem")

    assert Connection.of(None, None, None, None) == Connection(
        "secateur.example:443", TOKEN, Tls("ca.pem", "own.pem", "own-key.pem")
    )
    assert Connection.of("127.0.0.1:1", "", Tls("other.pem"), None) == Connection("127.0.0.1:1", "", Tls("other.pem"))


def test_an_option_of_tls_leaves_the_environment_its_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ca", "own", "key"):
        (tmp_path / name).write_text("no PEM")
    monkeypatch.setenv("SECATEUR_CA_FILE", str(tmp_path / "ca"))

    options = ["--certificate-file", str(tmp_path / "own"), "--key-file", str(tmp_path / "key")]
    result = CliRunner().invoke(app, [*options, "jobs", "list"])

    assert "TLS_FILE_INVALID" in result.stderr
    assert str(tmp_path / "ca") in result.stderr


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f" {TOKEN}", f"Bearer {TOKEN}", "tokén"])
def test_a_token_that_cannot_be_sent_is_refused_without_being_repeated(token: str) -> None:
    with pytest.raises(UsageError) as caught:
        Client(token=token)
    assert (caught.value.reason, caught.value.field) == ("TOKEN_INVALID", "token")
    assert token not in str(caught.value)
    assert caught.value.metadata == {}


def test_no_repr_shows_the_token() -> None:
    client = aio.Client(token=TOKEN)
    with Client(token=TOKEN) as blocking:
        for thing in (blocking, client, client._transport, Connection.of(None, TOKEN, None, None), Session(None, "p", TOKEN)):
            assert TOKEN not in f"{thing!r} {thing}"


def test_a_client_tells_where_it_is_connected() -> None:
    with Client("[::1]:50551", "plant-7") as client:
        assert repr(client) == repr(aio.Client("[::1]:50551", "plant-7")) == "<Client [::1]:50551 plant-7>"


def test_a_command_reads_its_token_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN} and more\n")

    result = CliRunner().invoke(app, ["--token-file", str(tmp_path / "token"), "jobs", "list"])

    assert result.exit_code == 2
    assert "TOKEN_INVALID" in result.stderr
    assert TOKEN not in result.output
