"""gRPC errors to the SDK's exceptions."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from secateur.client.errors import CODES, INFEASIBLE_REASONS, Infeasible, SecateurError, Unavailable, Unknown

_OVER_TLS: Final = (
    "over TLS; is it running, does it speak TLS, is its certificate from an authority in SECATEUR_CA_FILE, and does it ask for "
    "one of yours, SECATEUR_CLIENT_CERTIFICATE_FILE? Set SECATEUR_ADDRESS or the address, or these"
)
_IN_PLAIN_TEXT: Final = (
    "in plain text; is it running, and without TLS? Set SECATEUR_ADDRESS or the address, or SECATEUR_CA_FILE for TLS"
)

_CUT_OFF: Final = "Internal error from Core"
"""What grpc.aio itself says where a call has ended before the last request was sent, whatever it ended with."""


def error_of(error: grpc.aio.AioRpcError, address: str, *, encrypted: bool) -> SecateurError:
    """Returns the exception that stands for a failed call.

    Reason and metadata come from `google.rpc.ErrorInfo`, the field from `google.rpc.BadRequest` or the metadata. When to
    try again, where the service says so, becomes `retry_seconds` of the metadata. An error
    without details (from a proxy, or from gRPC itself) has the code as its reason. An upload that is cut off while it sends
    is UNAVAILABLE, which is tried again: gRPC calls it INTERNAL and does not tell the server's reason.

    Args:
        error: What gRPC raised.
        address: Where the call went, for the message.
        encrypted: Whether it went over TLS, for the message.
    """
    cut_off = error.details() == _CUT_OFF
    code = "UNAVAILABLE" if cut_off else error.code().name
    reason, field, metadata = code, "", {}
    for detail in _details(error):
        info, bad_request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            metadata["retry_seconds"] = f"{retry.retry_delay.ToTimedelta().total_seconds():g}"
        elif detail.Unpack(bad_request) and bad_request.field_violations:
            field = bad_request.field_violations[0].field
    kind = Infeasible if code == "FAILED_PRECONDITION" and reason in INFEASIBLE_REASONS else CODES.get(code, Unknown)
    message = error.details() or "The server gave no message"
    if cut_off:
        message = f"The upload to {address} was ended before all of it was sent; gRPC does not say why"
    elif kind is Unavailable and reason == code:  # nobody who knows Secateur has answered
        message = f"Cannot reach the server at {address} {_OVER_TLS if encrypted else _IN_PLAIN_TEXT}. Cause: {message}"
    return kind(reason, message, field=field or metadata.get("field", ""), metadata=metadata, code=code)


def _details(error: grpc.aio.AioRpcError) -> list[any_pb2.Any]:
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)  # type: ignore[arg-type]  # typed for sync calls only
    except (ValueError, DecodeError):  # details that contradict the status, or are none: a broken proxy; the status counts
        return []
    return list(status.details) if status is not None else []
