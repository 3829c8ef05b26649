"""Where the server listens: what may be open to a network, and with which certificates."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from pathlib import Path

import grpc
import grpc.aio
import structlog

from secateur.server.settings import ServerSettings
from secateur.store.startup import StartError

_log = structlog.stdlib.get_logger(__name__)


def check_exposure(settings: ServerSettings) -> None:
    """Refuses to listen on a network without TLS and tokens, unless the settings insist on it.

    Raises:
        StartError: Naming what is missing.
    """
    address = settings.listen_address
    if settings.insecure or is_local(address):
        return
    if settings.tls_certificate_file is None:
        raise StartError(
            "Without TLS the server only listens on a loopback address, for example 127.0.0.1:50551, or a unix socket: anybody "
            "on the network could read what is sent. Set SECATEUR_TLS_CERTIFICATE_FILE and SECATEUR_TLS_KEY_FILE, or insist "
            f"with --insecure. Received: {address}"
        )
    if settings.authentication == "none":
        raise StartError(
            "Without tokens the server only listens on a loopback address, for example 127.0.0.1:50551, or a unix socket: "
            "anybody on the network could read and start jobs. Set SECATEUR_AUTHENTICATION=tokens, or insist with --insecure. "
            f"Received: {address}"
        )


def listen(server: grpc.aio.Server, settings: ServerSettings) -> str:
    """Binds the server to its address, and returns that with its port filled in.

    Raises:
        StartError: If the address is taken or not of this machine, or a certificate cannot be used.
    """
    check_exposure(settings)
    if settings.insecure and not is_local(settings.listen_address):
        _log.warning(
            "open to the network, with no more TLS and tokens than the settings ask for", address=settings.listen_address
        )
    credentials = credentials_of(settings)
    address = settings.listen_address
    if address.startswith("unix:") and _answers(address.removeprefix("unix:")):
        raise StartError(f"Another server answers on this socket. Received: {address}")
    try:
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError as error:
        raise StartError(f"The address is taken or not of this machine. Received: {address}") from error
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


def is_local(address: str) -> bool:
    """Returns whether only this machine reaches an address, `HOST:PORT` or `unix:PATH`."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a host name: any but this one may point anywhere tomorrow
        return host == "localhost"


def _answers(path: str) -> bool:
    """Returns whether somebody listens on a unix socket: gRPC would take it away from them, as it does from a dead server."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except (BlockingIOError, TimeoutError):  # somebody listens, but is busy
            return True
        except OSError:
            return False
        return True


def credentials_of(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """Returns what TLS needs; None for plain text.

    Raises:
        StartError: If a file is missing or cannot be used.
    """
    certificate, key, client_ca = settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise StartError(
            "TLS needs a certificate and its key: set both SECATEUR_TLS_CERTIFICATE_FILE and SECATEUR_TLS_KEY_FILE"
        )
    files = _Files(certificate, key, client_ca)
    return grpc.dynamic_ssl_server_credentials(
        files.read(),
        files.renewed,  # type: ignore[arg-type]  # the stubs do not know that None means "as before"
        client_ca is not None,
    )


class _Files:
    """The files of TLS, read again when one of them changes: certificates are renewed while the server runs.

    Args:
        certificate: Certificate chain of the server.
        key: Its key.
        client_ca: Authorities of client certificates; None for none.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._read: tuple[int, ...] = ()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Returns what is in the files.

        Raises:
            StartError: If they cannot be used. gRPC would take them all the same, and then refuse every handshake.
        """
        self._read = self._changed()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
            pair = (self._key.read_bytes(), self._certificate.read_bytes())
        except (OSError, ValueError) as error:
            raise StartError(
                "SECATEUR_TLS_CERTIFICATE_FILE and SECATEUR_TLS_KEY_FILE must be a PEM certificate chain and the unencrypted "
                f"key of its first certificate. Received: {self._certificate} and {self._key}: {error}"
            ) from error
        try:
            if self._client_ca is not None:
                context.load_verify_locations(self._client_ca)
            authorities = self._client_ca.read_bytes() if self._client_ca is not None else None
        except OSError as error:
            raise StartError(
                f"SECATEUR_TLS_CLIENT_CA_FILE must hold PEM certificates. Received: {self._client_ca}: {error}"
            ) from error
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Returns what is in the files if they have changed and can be used; None to go on as before. Called per handshake."""
        try:
            return self.read() if self._changed() != self._read else None
        except StartError as error:
            _log.error("the renewed certificate cannot be used; the one before goes on", error=str(error))
            return None

    def _changed(self) -> tuple[int, ...]:
        files = (self._certificate, self._key, self._client_ca)
        return tuple(file.stat().st_mtime_ns for file in files if file is not None and file.exists())


def _no_password() -> str:
    raise ValueError("the key is encrypted")
