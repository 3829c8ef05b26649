"""Settings of the server, above all where it may listen."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from secateur.server.listening import check_exposure
from secateur.server.settings import ServerSettings
from secateur.store.startup import StartError


@pytest.mark.parametrize("address", ["127.0.0.1:50551", "127.9.9.9:1", "[::1]:50551", "localhost:0", "unix:/tmp/secateur.sock"])
def test_loopback_addresses_are_accepted(address: str) -> None:
    check_exposure(ServerSettings(listen_address=address))


@pytest.mark.parametrize("address", ["0.0.0.0:50551", "[::]:50551", "10.0.0.7:50551", "example.org:50551", ":50551"])
def test_an_open_address_without_tls_is_refused_and_named(address: str) -> None:
    with pytest.raises(StartError, match=r"Without TLS .* only listens on a loopback address.*--insecure") as caught:
        check_exposure(ServerSettings(listen_address=address, authentication="tokens"))
    assert f"Received: {address}" in str(caught.value)


def test_an_open_address_without_tokens_is_refused_even_with_tls(tmp_path: Path) -> None:
    tls = {"tls_certificate_file": tmp_path / "certificate.pem", "tls_key_file": tmp_path / "key.pem"}
    open_to_all = ServerSettings.model_validate({"listen_address": "0.0.0.0:50551", **tls})
    with pytest.raises(StartError, match=r"Without tokens .*SECATEUR_AUTHENTICATION=tokens.*Received: 0\.0\.0\.0:50551"):
        check_exposure(open_to_all)
    check_exposure(open_to_all.model_copy(update={"authentication": "tokens"}))


@pytest.mark.parametrize("address", ["127.0.0.1:65535", "[::1]:0", "unix:secateur.sock", "unix:///run/secateur.sock"])
def test_the_limits_of_an_address_are_accepted(address: str) -> None:
    assert ServerSettings(listen_address=address).listen_address == address


def test_who_insists_may_listen_anywhere() -> None:
    check_exposure(ServerSettings(listen_address="0.0.0.0:50551", insecure=True))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.0.0.1:http",
        "127.0.0.1:65536",
        "127.0.0.1:99999",
        "[::1]:-1",
        "[::1]:²",
        "unix:",
        "unix://",
        "unix:///",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="HOST:PORT"):
        ServerSettings(listen_address=address)


def test_the_environment_overrides_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_LISTEN_ADDRESS", "127.0.0.1:6000")
    monkeypatch.setenv("SECATEUR_REAP_SECONDS", "0.5")

    settings = ServerSettings()

    assert (settings.listen_address, settings.reap_seconds) == ("127.0.0.1:6000", 0.5)


@pytest.mark.parametrize("name", ["request_id_days", "audit_days", "max_pending_seconds", "deleted_retention_seconds"])
@pytest.mark.parametrize("value", [1e10, float("inf"), float("nan")])
def test_a_time_that_no_calendar_holds_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        ServerSettings.model_validate({name: value})
    ServerSettings.model_validate({name: 36_500})


def test_no_password_of_a_url_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_DATABASE_URL", "postgresql://me:hunter2@db/secateur")
    monkeypatch.setenv("SECATEUR_REDIS_URL", "redis://:hunter2@cache/0")
    monkeypatch.setenv("SECATEUR_BLOB_URL", "s3://files/hunter2")

    settings = ServerSettings()

    assert "hunter2" in settings.database_url
    assert "hunter2" not in f"{settings!r} {settings}"
    monkeypatch.setenv("SECATEUR_GRACE_SECONDS", "hunter2")
    with pytest.raises(ValidationError) as caught:
        ServerSettings()
    assert "grace_seconds" in str(caught.value)
    assert "hunter2" not in str(caught.value)
