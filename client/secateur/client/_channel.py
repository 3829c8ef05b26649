"""The connection to a server: where it is, encrypted or not, and the token that every call carries.

Only this machine is spoken to in plain text, everything else over TLS unless the caller insists: nobody gets to read a token.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import grpc

from secateur.client._names import checked
from secateur.client.errors import UsageError
from secateur.client.tls import Tls

DEFAULT_ADDRESS: Final = "127.0.0.1:50551"

_SCHEME: Final = re.compile("(dns:///|ipv4:|ipv6:)")
_TOKEN_FORM: Final = re.compile("[!-~]+")


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a server is and how to speak to it. Its `repr` does not show the token.

    Args:
        address: Server, `host:port` or `unix:path`.
        token: API token; empty for none.
        tls: How to encrypt; None for plain text.
    """

    address: str
    token: str = field(repr=False)
    tls: Tls | None

    @classmethod
    def of(cls, address: str | None, token: str | None, tls: Tls | None, insecure: bool | None) -> Connection:
        """Returns the connection that arguments of `Client` and environment variables ask for.

        Args:
            address: Server; None for SECATEUR_ADDRESS, or else 127.0.0.1:50551.
            token: API token; None for SECATEUR_TOKEN, or else none.
            tls: How to encrypt; None for what SECATEUR_CA_FILE, SECATEUR_CLIENT_CERTIFICATE_FILE and SECATEUR_CLIENT_KEY_FILE
                say, or else TLS for every address that is not of this machine.
            insecure: Speak plain text to any address; None for SECATEUR_CLIENT_INSECURE.

        Raises:
            UsageError: If the address is no text; TOKEN_INVALID, if the token cannot be sent.
        """
        address = checked(address or os.environ.get("SECATEUR_ADDRESS") or DEFAULT_ADDRESS, "address")
        token = os.environ.get("SECATEUR_TOKEN", "") if token is None else token
        if token and not _TOKEN_FORM.fullmatch(token):
            raise UsageError(
                "TOKEN_INVALID", "A token has neither blanks nor line breaks; check how it was read", field="token"
            )
        if insecure is None:
            insecure = os.environ.get("SECATEUR_CLIENT_INSECURE", "") not in ("", "0", "false")
        tls = tls or _tls_of_environment()
        if tls is None and not insecure and not is_local(address):
            tls = Tls()
        return cls(address, token, tls)

    def check(self) -> None:
        """Looks into the files of TLS.

        Raises:
            UsageError: TLS_FILE_INVALID or TLS_KEY_MISSING.
        """
        if self.tls is not None:
            _credentials(self.tls)

    def open(self, options: Sequence[tuple[str, Any]]) -> grpc.aio.Channel:
        """Returns a channel, with the token in every call.

        Raises:
            UsageError: As `check`.
        """
        # A proxy must not come between this machine and itself.
        options = [*options, ("grpc.enable_http_proxy", 0)] if is_local(self.address) else options
        if self.tls is None:
            channel = grpc.aio.insecure_channel(self.address, options=options)
        else:
            channel = grpc.aio.secure_channel(self.address, _credentials(self.tls), options=options)
        return cast("grpc.aio.Channel", _Authorized(channel, self.token)) if self.token else channel


def is_local(address: str) -> bool:
    """Returns whether an address is of this machine: loopback or a unix socket."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = _SCHEME.sub("", address, count=1).rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Authorized:
    """A channel whose every call carries a token.

    gRPC's own call credentials refuse to go over plain text even within one machine, and its interceptors stand in the way of
    streams that are written to.
    """

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {token}"),)
        self.close = channel.close

    def __getattr__(self, shape: str) -> Callable[..., Any]:
        """Returns how calls of a shape are made: `unary_unary` and the other three."""
        make = getattr(self._channel, shape)
        return lambda *args, **kwargs: functools.partial(make(*args, **kwargs), metadata=self._metadata)


def _tls_of_environment() -> Tls | None:
    names = ("SECATEUR_CA_FILE", "SECATEUR_CLIENT_CERTIFICATE_FILE", "SECATEUR_CLIENT_KEY_FILE")
    files = [os.environ.get(name) or None for name in names]
    return Tls(*files) if any(files) else None


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    if (tls.certificate_file is None) != (tls.key_file is None):
        raise UsageError("TLS_KEY_MISSING", "A client certificate needs its key, and a key its certificate", field="tls")
    # gRPC would take files that are not PEM, and then fail every call as if the server were not there.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.ca_file is not None:
            context.load_verify_locations(tls.ca_file)
        if tls.certificate_file is not None:
            context.load_cert_chain(tls.certificate_file, tls.key_file, password=_no_password)
        ca, key, certificate = (
            Path(file).read_bytes() if file is not None else None for file in (tls.ca_file, tls.key_file, tls.certificate_file)
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            "TLS_FILE_INVALID",
            "The files of TLS must be PEM: authorities, a certificate chain, and the unencrypted key of its first certificate. "
            f"Received: {tls}: {error}",
            field="tls",
        ) from error
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _no_password() -> str:
    raise ValueError("the key is encrypted")
