"""Where the server listens: what may be open to a network, and with which certificates."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

import grpc
import grpc.aio

from secateur.server.settings import ServerSettings
from secateur.server.startup import StartError


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
    credentials = credentials_of(settings)
    address = settings.listen_address
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
    _check_usable(certificate, key, client_ca)
    return grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        root_certificates=client_ca.read_bytes() if client_ca is not None else None,
        require_client_auth=client_ca is not None,
    )


def _check_usable(certificate: Path, key: Path, client_ca: Path | None) -> None:
    """Looks into the files before gRPC does, which would start all the same and then refuse every handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise StartError(
            "SECATEUR_TLS_CERTIFICATE_FILE and SECATEUR_TLS_KEY_FILE must be a PEM certificate chain and its unencrypted key. "
            f"Received: {certificate} and {key}: {error}"
        ) from error
    try:
        if client_ca is not None:
            context.load_verify_locations(client_ca)
    except OSError as error:
        raise StartError(f"SECATEUR_TLS_CLIENT_CA_FILE must hold PEM certificates. Received: {client_ca}: {error}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted")
