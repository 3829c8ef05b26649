"""Errors that a caller can act on. Each has a machine-readable reason and a public message.

The server maps the class to a gRPC status, the reason to `google.rpc.ErrorInfo`, and `field` to a `BadRequest` violation.
Anything that is not a `SecateurError` is a defect and reaches the caller as "internal error" without details.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self


class SecateurError(Exception):
    """Base of all errors that a caller can act on.

    Args:
        reason: UPPER_SNAKE_CASE, stable, for programs.
        message: One sentence for people: what was wrong, what was received, what to do.
        field: Offending request field, budget resource or layer; empty if none.
        metadata: Further facts for programs, for example `{"smallest_reachable": "1234"}`.
    """

    def __init__(self, reason: str, message: str, *, field: str = "", metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.metadata = dict(metadata or {})

    def __copy__(self) -> Self:
        """Returns the same error for another caller to raise: an error keeps where it was raised."""
        twin = type(self).__new__(type(self), *self.args)
        vars(twin).update(vars(self))
        return twin


class InvalidArgument(SecateurError):
    """The request is wrong whatever the state of the system."""


class NotFound(SecateurError):
    """What was named does not exist, or not in this project."""


class AlreadyExists(SecateurError):
    """What should be created exists."""


class QuotaExceeded(SecateurError):
    """The project has as many of these as it may have.

    Args:
        reason: As for every error.
        message: As for every error.
        field: As for every error.
        metadata: As for every error.
        retry_seconds: When the same request may succeed, in seconds from now; None if only a change of something helps.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_seconds: float | None = None,
    ) -> None:
        super().__init__(reason, message, field=field, metadata=metadata)
        self.retry_seconds = retry_seconds


class FailedPrecondition(SecateurError):
    """The request is well-formed, but cannot be served as things stand."""


class Infeasible(FailedPrecondition):
    """No plan meets the budget. The metadata names the limit that binds and the smallest reachable value."""


class Unavailable(SecateurError):
    """A part of the service cannot answer now; the same request may be sent again."""


class Conflict(SecateurError):
    """Somebody else changed the same thing first; read again and retry."""


class Unauthenticated(SecateurError):
    """Nobody knows who calls: the token is missing, unknown, expired or revoked."""


class PermissionDenied(SecateurError):
    """The caller is known and may not do this."""
