"""TLS between the real server and the SDK, with certificates made for the test."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from secateur.client import Client, Retry, Tls, Unauthenticated, Unavailable, UsageError, aio
from secateur.core.access import Scope
from secateur.server.listening import credentials_of
from secateur.server.settings import ServerSettings
from secateur.store import Store
from secateur.store.startup import StartError
from tests.support.access import issue
from tests.support.server import running, server_process

ONCE = Retry(first_contact=0.0, total=0.0)
"""Does not try again what fails."""


@dataclass(frozen=True)
class Files:
    """Certificates as files: of an authority, of the server, of a client; of an authority that nobody knows; a locked key."""

    ca: Path
    certificate: Path
    key: Path
    client_certificate: Path
    client_key: Path
    other_ca: Path
    locked_key: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tls")
    ca, other = trustme.CA(key_type=trustme.KeyType.ECDSA), trustme.CA(key_type=trustme.KeyType.ECDSA)
    server, client = ca.issue_cert("127.0.0.1"), ca.issue_cert("operator@example.org")
    files = Files(
        *(folder / f"{field.name}.pem" for field in fields(Files)),
    )
    ca.cert_pem.write_to_path(files.ca)
    other.cert_pem.write_to_path(files.other_ca)
    server.private_key_pem.write_to_path(files.key)
    client.private_key_pem.write_to_path(files.client_key)
    key = load_pem_private_key(server.private_key_pem.bytes(), password=None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    files.locked_key.write_bytes(locked)
    for certificate, path in ((server, files.certificate), (client, files.client_certificate)):
        path.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    return files


@contextmanager
def encrypted(settings: ServerSettings, files: Files, **chosen: object) -> Iterator[str]:
    """Runs a server with TLS and tokens, and yields its address."""
    tls = {"tls_certificate_file": files.certificate, "tls_key_file": files.key, "authentication": "tokens"}
    with running(settings.model_copy(update={**tls, **chosen})) as server:
        yield server.address


@pytest.fixture(scope="module")
def address(settings: ServerSettings, files: Files) -> Iterator[str]:
    with encrypted(settings, files) as address:
        yield address


@pytest.fixture(scope="module")
def mutual(settings: ServerSettings, files: Files) -> Iterator[str]:
    """Address of a server that asks its clients for a certificate."""
    with encrypted(settings, files, tls_client_ca_file=files.ca) as address:
        yield address


@pytest.fixture
def token(store: Store) -> str:
    return issue(store, Scope.OPERATOR, "default").text


def profiles(address: str, **options: Any) -> int:
    """Makes a call, and returns how much it brought."""
    with Client(address, retry=ONCE, timeout=60.0, **options) as client:
        return len(list(client.device_profiles()))


def test_who_knows_the_authority_and_has_a_token_is_answered(address: str, files: Files, token: str) -> None:
    assert profiles(address, tls=Tls(files.ca), token=token) > 0


def test_the_same_goes_for_asyncio(address: str, files: Files, token: str) -> None:
    async def main() -> int:
        async with aio.Client(address, retry=ONCE, tls=Tls(files.ca), token=token) as client:
            return len([profile async for profile in client.device_profiles()])

    assert asyncio.run(main()) > 0


def test_the_environment_says_the_same(address: str, files: Files, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_ADDRESS", address)
    monkeypatch.setenv("SECATEUR_CA_FILE", str(files.ca))
    monkeypatch.setenv("SECATEUR_TOKEN", token)
    with Client(retry=ONCE) as client:
        assert list(client.device_profiles())


def test_without_a_token_tls_alone_is_not_enough(address: str, files: Files) -> None:
    with pytest.raises(Unauthenticated) as caught:
        profiles(address, tls=Tls(files.ca))
    assert caught.value.reason == "TOKEN_MISSING"


def test_an_authority_that_did_not_sign_is_not_believed(address: str, files: Files, token: str) -> None:
    with pytest.raises(Unavailable, match=r"(?i)certificate"):
        profiles(address, tls=Tls(files.other_ca), token=token)
    with pytest.raises(Unavailable, match=r"(?i)certificate"):
        profiles(address, tls=Tls(), token=token)  # nor do the well-known ones know it


def test_the_command_line_says_in_one_line_whom_to_believe(address: str, files: Files) -> None:
    command = [sys.executable, "-m", "secateur.client.cli", "--address", address, "--ca-file", str(files.other_ca)]
    # The server, whose package is loaded here, sets it.
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    result = subprocess.run([*command, "profiles", "list"], env=environment, capture_output=True, encoding="utf-8", check=False)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert re.search("SECATEUR_CA_FILE.*CERTIFICATE_VERIFY_FAILED", result.stderr)


def test_a_name_that_the_certificate_does_not_have_is_not_believed(address: str, files: Files, token: str) -> None:
    other_name = f"localhost:{address.rpartition(':')[2]}"
    with pytest.raises(Unavailable, match=r"(?i)hostname|peer name"):
        profiles(other_name, tls=Tls(files.ca), token=token)


def test_plain_text_does_not_get_through(address: str, token: str) -> None:
    with pytest.raises(Unavailable, match="in plain text; is it running, and without TLS"):
        profiles(address, token=token)


def test_who_does_not_speak_tls_leaves_nothing_in_the_log_that_is_no_json(settings: ServerSettings, files: Files) -> None:
    with server_process(
        data_dir=settings.data_dir,
        listen_address="127.0.0.1:0",
        tls_certificate_file=files.certificate,
        tls_key_file=files.key,
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        with pytest.raises(Unavailable):
            profiles(json.loads(first)["address"])
        process.terminate()
        lines = [first, *process.stderr]
    assert [line for line in lines if not line.startswith("{")] == []


def test_a_client_with_a_certificate_is_let_in_where_one_is_asked_for(mutual: str, files: Files, token: str) -> None:
    own = Tls(files.ca, files.client_certificate, files.client_key)
    assert profiles(mutual, tls=own, token=token) > 0
    with pytest.raises(Unauthenticated):
        profiles(mutual, tls=own)


def test_a_client_without_a_certificate_is_turned_away(mutual: str, files: Files, token: str) -> None:
    with pytest.raises(Unavailable):
        profiles(mutual, tls=Tls(files.ca), token=token)


def test_a_certificate_of_another_authority_is_turned_away(mutual: str, files: Files, token: str, tmp_path: Path) -> None:
    stranger = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("operator@example.org")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    stranger.cert_chain_pems[0].write_to_path(certificate)
    stranger.private_key_pem.write_to_path(key)
    with pytest.raises(Unavailable):
        profiles(mutual, tls=Tls(files.ca, certificate, key), token=token)


def test_a_renewed_certificate_is_taken_up_and_one_that_is_not_whole_is_not(
    settings: ServerSettings, files: Files, token: str, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(files.certificate.read_bytes())
    key.write_bytes(files.key.read_bytes())
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    renewed = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with encrypted(settings, files, tls_certificate_file=certificate, tls_key_file=key) as address:
        assert profiles(address, tls=Tls(files.ca), token=token) > 0
        renewed.cert_chain_pems[0].write_to_path(certificate)  # and not yet its key
        assert profiles(address, tls=Tls(files.ca), token=token) > 0
        renewed.private_key_pem.write_to_path(key)
        assert profiles(address, tls=Tls(tmp_path / "ca.pem"), token=token) > 0
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            profiles(address, tls=Tls(files.ca), token=token)


def test_another_authority_for_clients_is_taken_up(settings: ServerSettings, files: Files, token: str, tmp_path: Path) -> None:
    ca, own = tmp_path / "ca.pem", Tls(files.ca, files.client_certificate, files.client_key)
    ca.write_bytes(files.ca.read_bytes())
    with encrypted(settings, files, tls_client_ca_file=ca) as address:
        assert profiles(address, tls=own, token=token) > 0
        ca.write_bytes(files.other_ca.read_bytes())
        with pytest.raises(Unavailable):
            profiles(address, tls=own, token=token)


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        ({"tls_key_file": None}, "set both SECATEUR_TLS_CERTIFICATE_FILE and SECATEUR_TLS_KEY_FILE"),
        ({"tls_certificate_file": None}, "set both"),
        ({"tls_certificate_file": None, "tls_key_file": None, "tls_client_ca_file": "ca"}, "set both"),
        ({"tls_certificate_file": Path("nowhere.pem")}, r"must be a PEM certificate chain.*nowhere\.pem"),
        ({"tls_key_file": "client_key"}, "must be a PEM certificate chain and the unencrypted key of its first"),
        ({"tls_key_file": "locked_key"}, "the unencrypted key of.*the key is encrypted"),
        ({"tls_certificate_file": "key"}, "must be a PEM certificate chain"),
        ({"tls_client_ca_file": "key"}, "SECATEUR_TLS_CLIENT_CA_FILE must hold PEM certificates"),
    ],
)
def test_files_that_cannot_serve_are_named_at_the_start(
    settings: ServerSettings, files: Files, chosen: dict[str, Any], problem: str
) -> None:
    named = {name: getattr(files, value) if isinstance(value, str) else value for name, value in chosen.items()}
    tls = {"tls_certificate_file": files.certificate, "tls_key_file": files.key}
    with pytest.raises(StartError, match=problem) as caught:
        credentials_of(settings.model_copy(update={**tls, **named}))
    assert "PRIVATE KEY" not in str(caught.value)


@pytest.mark.parametrize(
    ("tls", "reason"),
    [
        (lambda files: Tls("nowhere.pem"), "TLS_FILE_INVALID"),
        (lambda files: Tls(files.key), "TLS_FILE_INVALID"),
        (lambda files: Tls(files.ca, files.client_certificate), "TLS_KEY_MISSING"),
        (lambda files: Tls(files.ca, files.client_certificate, files.key), "TLS_FILE_INVALID"),
    ],
)
def test_files_that_the_client_cannot_use_are_named_before_anything_is_sent(files: Files, tls: Any, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        Client(tls=tls(files))
    assert (caught.value.reason, caught.value.field) == (reason, "tls")
