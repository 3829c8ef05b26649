"""The one table from domain errors to gRPC statuses, and the `google.rpc.Status` that goes over the wire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from secateur.core.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    SecateurError,
    Unauthenticated,
    Unavailable,
)

DOMAIN: Final = "secateur"
"""`ErrorInfo.domain` of every error."""

_CUT: Final = "…"

MAX_MESSAGE_BYTES: Final = 1024
"""Longest message, in UTF-8; it travels percent-encoded, which may treble it."""

MAX_METADATA_BYTES: Final = 256
"""Longest value of `ErrorInfo.metadata`, and longest field path and description of a violation."""

MAX_STATUS_BYTES: Final = 3072
"""Longest status. It travels in a header, in base64; with message and all a client takes 8 KiB by default."""

INTERNAL_MESSAGE: Final = "Internal server error."
"""All that a caller learns of a defect, beside the request id."""


class RequestInvalid(InvalidArgument):
    """The request breaks rules of the .proto files.

    Args:
        violations: Every broken rule as (field path, what is wrong), at least one.
    """

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        message = "; ".join(f"{path}: {description}" for path, description in violations)
        super().__init__("REQUEST_INVALID", message, field=violations[0][0])
        self.violations = tuple(violations)


STATUS_CODES: Final[dict[type[SecateurError], grpc.StatusCode]] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    Conflict: grpc.StatusCode.ABORTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
}
"""Status of each kind of error; a subclass has that of its nearest base. Anything else is a defect: INTERNAL."""


def code_of(error: Exception) -> grpc.StatusCode:
    """Returns the gRPC status code that an error maps to."""
    for kind in type(error).__mro__:
        if kind in STATUS_CODES:
            return STATUS_CODES[kind]
    return grpc.StatusCode.INTERNAL


def status_of(error: Exception, *, request_id: str) -> status_pb2.Status:
    """Returns what the caller is told of an error.

    Args:
        error: What was raised. Only a `SecateurError` from the table tells anything of itself.
        request_id: Named in the metadata of a defect, so that the caller can quote it and the log line can be found.
    """
    code = code_of(error)
    if not isinstance(error, SecateurError) or code is grpc.StatusCode.INTERNAL:
        info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"request_id": request_id})
        return _status(grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE, info)
    metadata = {**error.metadata, "field": error.field} if error.field else error.metadata
    metadata = {name: _cut(value, MAX_METADATA_BYTES) for name, value in metadata.items()}
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    details: list[Message] = [info]
    if violations := _violations(error):
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if isinstance(error, QuotaExceeded) and error.retry_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(timedelta(seconds=error.retry_seconds))
        details.append(retry)
    return _status(code, error.message, *details)


def _violations(error: SecateurError) -> list[error_details_pb2.BadRequest.FieldViolation]:
    if isinstance(error, RequestInvalid):
        found: Sequence[tuple[str, str]] = error.violations
    else:
        found = [(error.field, error.message)] if error.field else []
    return [
        error_details_pb2.BadRequest.FieldViolation(
            field=_cut(path, MAX_METADATA_BYTES), description=_cut(description, MAX_METADATA_BYTES), reason=error.reason
        )
        for path, description in found
    ]


def _status(code: grpc.StatusCode, message: str, *details: Message) -> status_pb2.Status:
    status = status_pb2.Status(code=code.value[0], message=_cut(message, MAX_MESSAGE_BYTES))
    for detail in details:
        packed = _packed(detail)
        while isinstance(detail, error_details_pb2.BadRequest) and status.ByteSize() + packed.ByteSize() > MAX_STATUS_BYTES:
            detail.field_violations.pop()
            packed = _packed(detail)
        status.details.append(packed)
    return status


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _cut(text: str, most_bytes: int) -> str:
    encoded = text.encode(errors="replace")  # half a character cannot travel
    if len(encoded) <= most_bytes:
        return encoded.decode()
    return encoded[: most_bytes - len(_CUT.encode())].decode(errors="ignore") + _CUT
