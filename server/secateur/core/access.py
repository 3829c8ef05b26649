"""Who may call: scopes, and the API tokens that carry them.

A token is `sct_{id}_{secret}`. The id is public: it names the token in lists, logs and the audit log. The secret is 256 random
bits, so its SHA-256 is all that anybody has to keep: there is nothing to guess that salt or slowness would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

PROJECT_ID: Final = re.compile("[a-z][a-z0-9-]{0,62}")
"""Form of the id of a project, as the rules in the .proto files have it."""

TOKEN_PREFIX: Final = "sct"  # noqa: S105 - by which people and secret scanners know a token
"""Start of every token."""

_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32
_FORM: Final = re.compile(f"{TOKEN_PREFIX}_([0-9a-f]{{{2 * _ID_BYTES}}})_([0-9a-f]{{{2 * _SECRET_BYTES}}})")
_NO_DIGEST: Final = "0" * 64
"""What a secret is compared with if there is no such token, so that refusing an unknown id takes as long as a wrong secret."""


class Scope(StrEnum):
    """What a token is good for."""

    ADMIN = "admin"
    OPERATOR = "operator"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Token:
    """An API token, its secret included. Its `repr` does not show the secret.

    Args:
        id: Public id.
        secret: Secret part.
    """

    id: str
    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> Token:
        """Returns a new random token."""
        return cls(secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Token | None:
        """Returns the token that is written as `text`; None if that is no token."""
        found = _FORM.fullmatch(text)
        return cls(found[1], found[2]) if found else None

    @property
    def text(self) -> str:
        """The token as its holder sends it. Show it once, and keep it nowhere."""
        return f"{TOKEN_PREFIX}_{self.id}_{self.secret}"

    @property
    def digest(self) -> str:
        """SHA-256 of the secret, hexadecimal: what is kept of it."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def matches(self, digest: str | None) -> bool:
        """Returns whether `digest` is that of this secret, in constant time; None stands for an unknown token."""
        return hmac.compare_digest(self.digest, digest or _NO_DIGEST)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls.

    Args:
        token: Id of the token; empty where none is asked for.
        scope: What the caller may do.
        project: The only project that the caller may see; None for all.
    """

    token: str
    scope: Scope
    project: str | None

    def sees(self, project: str) -> bool:
        """Returns whether a project is the caller's to see."""
        return self.project in (None, project)


ANYBODY: Final = Principal(token="", scope=Scope.ADMIN, project=None)
"""Whoever calls a server that asks for no token."""
