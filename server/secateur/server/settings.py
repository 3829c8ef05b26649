"""Settings of the server: those of the store, and how to serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from secateur.store.quotas import Quotas
from secateur.store.reaper import RESEND_AFTER
from secateur.store.settings import Days, Seconds, Settings


def _address(address: str) -> str:
    _, separator, port = address.rpartition(":")
    if address.startswith("unix:"):
        good = address.removeprefix("unix:").strip("/") != ""
    else:  # gRPC would take a port modulo 2^16
        good = separator != "" and port.isdecimal() and port.isascii() and int(port) < 2**16
    if not good:
        raise ValueError(f"An address is HOST:PORT, [IPV6]:PORT or unix:PATH, a port at most 65535. Received: {address}")
    return address


class ServerSettings(Settings):
    """Settings of one server process; `SECATEUR_LISTEN_ADDRESS` and so on override the defaults.

    Args:
        listen_address: Address to listen on; port 0 picks a free one. Anything but loopback and unix sockets needs TLS and
            tokens.
        authentication: What a call must carry: nothing, or an API token.
        token_cache_seconds: How long what was read of a token is relied on; a revoked one is good for as long.
        tls_certificate_file: PEM file of the server's certificate chain; None for no TLS.
        tls_key_file: PEM file of its key, not encrypted.
        tls_client_ca_file: PEM file of the authorities whose client certificates are accepted; None asks for none.
        insecure: Listen on a network even without TLS and tokens.
        quota_queued_jobs: Jobs of a project that may wait at once; 0 for any number.
        quota_stored_bytes: Bytes of uploaded files of a project; 0 for any number.
        quota_uploads_per_minute: Uploads with a file that a project may begin per minute; 0 for any number.
        max_message_bytes: Longest message that is received or sent.
        handler_threads: Most handlers that run at once.
        blob_threads: Most pieces of uploads and downloads that are worked on at once, beside the handlers.
        plan_seconds: How long the plans of one call may take; more is refused.
        grace_seconds: How long running calls may take to end once the server stops.
        relay_seconds: Longest wait before owed queue messages are sent.
        reap_seconds: Time between searches for lost workers.
        resolve_refresh_seconds: Time between looks for new models, which ResolveModel answers from memory about.
        resend_seconds: How long a queue message may go unclaimed before it is sent again.
        max_pending_seconds: How long a job may wait for a worker before it ends EXPIRED; a job may ask for less.
        request_id_days: How long a request id is remembered, at least.
        audit_days: How long rows of the audit log are kept, at least; 0 for ever.
        max_watches: Most watches and waits of jobs at one time; further ones are refused.
        log_level: Least severity that is logged.
        uploads_at_once: Uploads whose bytes are taken in at once, at up to 12 MiB of memory each; others wait. One project has
            at most half of them, so that its slow ones cannot keep out all others.
        upload_idle_seconds: How long an upload may send nothing. One that sends a little, on a slow link, goes on.
        collect_seconds: Time between two sweeps for garbage.
        artifact_url_seconds: How long a URL of a file is good for, where the blob store has such; 0 for no URLs.
    """

    listen_address: Annotated[str, AfterValidator(_address)] = "127.0.0.1:50551"
    authentication: Literal["none", "tokens"] = "none"
    token_cache_seconds: float = Field(default=10.0, ge=0)
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    insecure: bool = False
    quota_queued_jobs: int = Field(default=Quotas().queued_jobs, ge=0)
    quota_stored_bytes: int = Field(default=Quotas().stored_bytes, ge=0)
    quota_uploads_per_minute: int = Field(default=Quotas().uploads_per_minute, ge=0)
    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=2 * 1024 * 1024)
    handler_threads: int = Field(default=8, ge=1)
    blob_threads: int = Field(default=8, ge=1)
    plan_seconds: float = Field(default=30.0, gt=0)
    grace_seconds: float = Field(default=10.0, ge=0)
    relay_seconds: float = Field(default=1.0, gt=0)
    reap_seconds: float = Field(default=5.0, gt=0)
    resolve_refresh_seconds: float = Field(default=1.0, gt=0, le=3.0)
    resend_seconds: Seconds = Field(default=RESEND_AFTER.total_seconds(), gt=0)
    max_pending_seconds: Seconds = Field(default=7 * 24 * 3600.0, gt=0)
    request_id_days: Days = Field(default=7.0, gt=0)
    audit_days: Days = Field(default=400.0, ge=0)
    max_watches: int = Field(default=5_000, ge=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    uploads_at_once: int = Field(default=32, ge=1)
    upload_idle_seconds: float = Field(default=60.0, gt=0)
    collect_seconds: float = Field(default=3600.0, gt=0)
    artifact_url_seconds: int = Field(default=900, ge=0, le=7 * 24 * 3600)

    @property
    def quotas(self) -> Quotas:
        """What each project may take."""
        return Quotas(self.quota_queued_jobs, self.quota_stored_bytes, self.quota_uploads_per_minute)
