"""Settings of the server: those of the store, and how to serve."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from secateur.store.settings import Settings


def _loopback_only(address: str) -> str:
    if address.startswith("unix:"):
        return address
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        raise ValueError(f"An address is HOST:PORT, [IPV6]:PORT or unix:PATH. Received: {address}")
    if host != "localhost" and not _is_loopback(host.strip("[]")):
        raise ValueError(
            "Without TLS the server only listens on a loopback address, for example 127.0.0.1:50551: "
            f"anybody on the network could read and start jobs. Received: {address}"
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a host name: it may point anywhere tomorrow
        return False


class ServerSettings(Settings):
    """Settings of one server process; `SECATEUR_LISTEN_ADDRESS` and so on override the defaults.

    Args:
        listen_address: Address to listen on, loopback only; port 0 picks a free one.
        max_message_bytes: Longest message that is received or sent.
        handler_threads: Most handlers that run at once.
        grace_seconds: How long running calls may take to end once the server stops.
        relay_seconds: Longest wait before owed queue messages are sent.
        reap_seconds: Time between searches for lost workers.
        log_level: Least severity that is logged.
        uploads_at_once: Uploads whose bytes are taken in at once, at up to 4 MiB of memory each; others wait.
        upload_idle_seconds: How long an upload may send nothing.
        collect_seconds: Time between two sweeps for garbage.
        artifact_url_seconds: How long a URL of a file is good for, where the blob store has such; 0 for no URLs.
    """

    listen_address: Annotated[str, AfterValidator(_loopback_only)] = "127.0.0.1:50551"
    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=2 * 1024 * 1024)
    handler_threads: int = Field(default=8, ge=1)
    grace_seconds: float = Field(default=10.0, ge=0)
    relay_seconds: float = Field(default=1.0, gt=0)
    reap_seconds: float = Field(default=5.0, gt=0)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    uploads_at_once: int = Field(default=32, ge=1)
    upload_idle_seconds: float = Field(default=60.0, gt=0)
    collect_seconds: float = Field(default=3600.0, gt=0)
    artifact_url_seconds: int = Field(default=900, ge=0, le=7 * 24 * 3600)
