"""The one table from domain errors to statuses, row by row."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from secateur.core import errors as core
from secateur.server.errors import MAX_MESSAGE_BYTES, MAX_STATUS_BYTES, STATUS_CODES, RequestInvalid, code_of, status_of

ROWS = [
    (core.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (core.NotFound, grpc.StatusCode.NOT_FOUND),
    (core.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (core.QuotaExceeded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (core.FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (core.Infeasible, grpc.StatusCode.FAILED_PRECONDITION),
    (core.Conflict, grpc.StatusCode.ABORTED),
    (core.Unavailable, grpc.StatusCode.UNAVAILABLE),
]


def info_of(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


def violations_of(status: status_pb2.Status) -> list[tuple[str, str]]:
    if len(status.details) == 1:
        return []
    bad_request = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad_request)
    return [(violation.field, violation.description) for violation in bad_request.field_violations]


@pytest.mark.parametrize(("kind", "code"), ROWS)
def test_each_kind_of_error_has_its_status(kind: type[core.SecateurError], code: grpc.StatusCode) -> None:
    error = kind("SOME_REASON", "What was wrong", metadata={"limit": "flash_bytes"})

    status = status_of(error, request_id="r1")

    assert (status.code, status.message) == (code.value[0], "What was wrong")
    assert info_of(status) == error_details_pb2.ErrorInfo(
        reason="SOME_REASON", domain="secateur", metadata={"limit": "flash_bytes"}
    )
    assert violations_of(status) == []


def test_every_domain_error_is_in_the_table() -> None:
    kinds = {kind for kind in vars(core).values() if isinstance(kind, type) and issubclass(kind, core.SecateurError)}

    assert {kind for kind in kinds if not set(kind.__mro__) & set(STATUS_CODES)} == {core.SecateurError}


def test_a_field_becomes_a_violation_and_metadata() -> None:
    status = status_of(core.InvalidArgument("DATASET_UNKNOWN", "No such data set", field="job.dataset"), request_id="r1")

    assert violations_of(status) == [("job.dataset", "No such data set")]
    assert info_of(status).metadata["field"] == "job.dataset"


def test_every_broken_rule_is_told() -> None:
    broken = [("parent", "does not match"), ("job", "value is required")]

    status = status_of(RequestInvalid(broken), request_id="r1")

    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert info_of(status).reason == "REQUEST_INVALID"
    assert violations_of(status) == broken


@pytest.mark.parametrize("error", [RuntimeError("the password is hunter2"), core.SecateurError("X", "hunter2")])
def test_a_defect_tells_nothing_but_the_request_id(error: Exception) -> None:
    status = status_of(error, request_id="r1")

    assert code_of(error) is grpc.StatusCode.INTERNAL
    assert (status.code, status.message) == (grpc.StatusCode.INTERNAL.value[0], "Internal server error.")
    assert info_of(status) == error_details_pb2.ErrorInfo(reason="INTERNAL", domain="secateur", metadata={"request_id": "r1"})
    assert b"hunter2" not in status.SerializeToString()


def test_an_error_fits_into_the_headers_that_carry_it_however_much_there_is_to_say() -> None:
    wordy = RequestInvalid([(f'labels["{"k" * 5000}"][{place}]', "\U0001f600" * 5000) for place in range(50)])
    wordy.metadata["received"] = "x" * 70_000

    status = status_of(wordy, request_id="r1")

    assert len(status.message.encode()) <= MAX_MESSAGE_BYTES
    assert status.message.endswith("…")
    assert status.ByteSize() <= MAX_STATUS_BYTES
    assert info_of(status).reason == "REQUEST_INVALID"
    assert violations_of(status)[0][0].startswith("labels[")


def test_half_a_character_does_not_keep_an_error_from_its_caller() -> None:
    status = status_of(core.InvalidArgument("NAME_INVALID", "Received: \ud800"), request_id="r1")

    assert status.message == "Received: ?"
