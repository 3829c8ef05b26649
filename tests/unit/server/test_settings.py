"""Settings of the server, above all where it may listen."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from secateur.server.settings import ServerSettings


@pytest.mark.parametrize("address", ["127.0.0.1:50551", "127.9.9.9:1", "[::1]:50551", "localhost:0", "unix:/tmp/secateur.sock"])
def test_loopback_addresses_are_accepted(address: str) -> None:
    assert ServerSettings(listen_address=address).listen_address == address


@pytest.mark.parametrize("address", ["0.0.0.0:50551", "[::]:50551", "10.0.0.7:50551", "example.org:50551", ":50551"])
def test_an_open_address_without_tls_is_refused_and_named(address: str) -> None:
    with pytest.raises(ValidationError, match="only listens on a loopback address") as caught:
        ServerSettings(listen_address=address)
    assert f"Received: {address}" in str(caught.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:http", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="HOST:PORT"):
        ServerSettings(listen_address=address)


def test_the_environment_overrides_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_LISTEN_ADDRESS", "127.0.0.1:6000")
    monkeypatch.setenv("SECATEUR_REAP_SECONDS", "0.5")

    settings = ServerSettings()

    assert (settings.listen_address, settings.reap_seconds) == ("127.0.0.1:6000", 0.5)
