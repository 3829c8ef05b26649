"""How a server is known, and how a client makes itself known to it."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of an encrypted connection, all of them PEM.

    Args:
        ca_file: Authorities that the server's certificate may come from; None for the well-known ones that gRPC brings along.
        certificate_file: The client's own certificate chain, for a server that asks for one; None for none.
        key_file: Key of that certificate, not encrypted.
    """

    ca_file: str | PathLike[str] | None = None
    certificate_file: str | PathLike[str] | None = None
    key_file: str | PathLike[str] | None = None
