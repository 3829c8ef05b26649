"""What the service reports, as exceptions."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable

import grpc
import pytest
from google.rpc import code_pb2, status_pb2

import secateur.client
from secateur.client import Client, Infeasible, InvalidArgument, NotFound, PermissionDenied, SecateurError, Unavailable, errors
from tests.unit.client.remote.service import Service


@pytest.mark.parametrize("code", [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_code_has_an_exception_of_its_own(client: Client, remote: Service, code: str) -> None:
    remote.faults.fail("GetJob", code, times=1000)
    with pytest.raises(SecateurError) as caught:
        client.job("1")
    assert type(caught.value) is errors.CODES[code]
    assert caught.value.code == code
    assert caught.value.reason == code
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_details_become_reason_field_and_metadata(client: Client, remote: Service) -> None:
    remote.faults.fail(
        "GetJob",
        "INVALID_ARGUMENT",
        reason="DATASET_UNKNOWN",
        message="There is no data set of that name",
        field="job.dataset",
        metadata={"known": "digits"},
    )
    with pytest.raises(InvalidArgument, match=r"^DATASET_UNKNOWN: There is no data set of that name$") as caught:
        client.job("1")
    assert (caught.value.field, caught.value.metadata) == ("job.dataset", {"known": "digits"})


@pytest.mark.parametrize("details", [b"cut o", status_pb2.Status(code=code_pb2.NOT_FOUND).SerializeToString()])
def test_details_that_a_proxy_has_broken_leave_the_status(client: Client, remote: Service, details: bytes) -> None:
    remote.faults.fail("GetJob", "PERMISSION_DENIED", message="not from here")
    remote.faults.details["GetJob"] = details
    with pytest.raises(PermissionDenied, match=r"^PERMISSION_DENIED: not from here$"):
        client.job("1")


def test_the_field_may_stand_in_the_metadata(client: Client, remote: Service) -> None:
    remote.faults.fail("GetJob", "NOT_FOUND", reason="JOB_NOT_FOUND", metadata={"field": "name"})
    with pytest.raises(NotFound) as caught:
        client.job("1")
    assert caught.value.field == "name"


@pytest.mark.parametrize("reason", ["BUDGET_INFEASIBLE", "NO_MODEL_FITS"])
def test_what_cannot_be_met_is_infeasible(client: Client, remote: Service, reason: str) -> None:
    remote.faults.fail("GetJob", "FAILED_PRECONDITION", reason=reason)
    with pytest.raises(Infeasible):
        client.job("1")


def test_a_server_that_is_not_there_is_named() -> None:
    nobody = "127.0.0.1:9"
    retry = secateur.client.Retry(first_delay=0.01, first_contact=0.1)
    with Client(nobody, retry=retry) as client, pytest.raises(Unavailable, match=f"the server at {nobody} in plain text"):
        client.job("1")


def test_a_server_that_says_why_it_is_unavailable_is_quoted_and_counts_as_there(remote: Service) -> None:
    remote.faults.fail("GetJob", reason="DATABASE_UNAVAILABLE", message="The database does not answer", times=3)
    remote.faults.fail("GetModel", reason="BLOBS_UNAVAILABLE", message="The blob store does not answer", times=10_000)
    patient = secateur.client.Retry(first_delay=0.01, max_delay=0.01, first_contact=0, total=1)
    with Client(remote.address, retry=patient) as client:
        with pytest.raises(NotFound):  # the fourth answer
            client.job("1")
        with pytest.raises(Unavailable, match=r"^BLOBS_UNAVAILABLE: The blob store does not answer$"):
            client.model("aa01")


def test_every_exception_says_what_it_means() -> None:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, SecateurError)]
    assert all(kind.__doc__ for kind in kinds)
    assert {kind.__name__ for kind in kinds} <= set(secateur.client.__all__)


@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_every_exception_survives_pickling_and_copying(again: Callable[[SecateurError], SecateurError]) -> None:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, SecateurError)]
    for kind in kinds:
        if issubclass(kind, errors.JobError):
            error: SecateurError = kind("projects/default/jobs/1", "REASON", "What was wrong")
        else:
            error = kind("REASON", "What was wrong", field="seed", metadata={"key": "value"}, code="NOT_FOUND")
        error.add_note("a note")
        twin = again(error)
        assert (type(twin), str(twin), twin.args, vars(twin)) == (kind, str(error), error.args, vars(error))
