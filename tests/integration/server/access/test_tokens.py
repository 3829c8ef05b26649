"""Who calls: tokens that are good, and all those that are not, or not any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import grpc
import pytest
import time_machine
from google.protobuf.descriptor import MethodDescriptor

from secateur.core.access import Scope, Token
from secateur.store import Store
from secateur.v1 import dataset_service_pb2 as datasets
from secateur.v1 import job_service_pb2 as jobs
from tests.support.access import CACHE_SECONDS, METHODS, authorized, call, issue, method_id, path_of, request_of, revoke
from tests.support.server import Api, refusal

SHAPES: Final = [
    method for method in METHODS if path_of(method).endswith(("/GetJob", "/WatchJob", "/UploadDataset", "/UploadArchitecture"))
]
"""A call of each shape that there is."""


def wrong_secret(token: Token) -> str:
    return Token(token.id, Token.generate().secret).text


@pytest.mark.parametrize("method", SHAPES, ids=method_id)
@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (lambda token: None, "TOKEN_MISSING"),
        (lambda token: "", "TOKEN_MALFORMED"),
        (lambda token: token.text, "TOKEN_MALFORMED"),
        (lambda token: f"Basic {token.text}", "TOKEN_MALFORMED"),
        (lambda token: f"Bearer {token.text[:-1]}", "TOKEN_MALFORMED"),
        (lambda token: "Bearer " + "x" * 5000, "TOKEN_MALFORMED"),
        (lambda token: f"Bearer {Token.generate().text}", "TOKEN_INVALID"),
        (lambda token: f"Bearer {wrong_secret(token)}", "TOKEN_INVALID"),
    ],
)
def test_who_is_not_known_is_told_why_and_nothing_else(
    guarded: grpc.Channel, store: Store, method: MethodDescriptor, sent: Callable[[Token], str | None], reason: str
) -> None:
    token = issue(store, Scope.ADMIN, None)
    value = sent(token)
    channel = guarded if value is None else authorized(guarded, value)

    found = refusal(lambda: call(channel, method, request_of(method)))

    assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    assert token.secret not in found.message
    assert "xxx" not in found.message


def test_an_unknown_token_and_a_wrong_secret_are_told_the_same(guarded: grpc.Channel, store: Store) -> None:
    token = issue(store, Scope.ADMIN, None)
    method = SHAPES[0]
    answers = [
        refusal(partial(call, authorized(guarded, f"Bearer {text}"), method, request_of(method)))
        for text in (Token.generate().text, wrong_secret(token))
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("method", SHAPES, ids=method_id)
def test_an_expired_token_is_good_until_then(guarded: grpc.Channel, store: Store, method: MethodDescriptor) -> None:
    ended = issue(store, Scope.ADMIN, None, expire_time=datetime.now(UTC) - timedelta(seconds=1))
    other_secret = Token(ended.id, Token.generate().secret)
    good = issue(store, Scope.ADMIN, None, expire_time=datetime.now(UTC) + timedelta(hours=1))

    reasons = [
        refusal(partial(call, authorized(guarded, token), method, request_of(method))).reason
        for token in (ended, other_secret, good)
    ]

    # Only who has the secret is told that it has expired.
    assert reasons[:2] == ["TOKEN_EXPIRED", "TOKEN_INVALID"]
    assert not reasons[2].startswith("TOKEN_")


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_token_ends_when_it_should_whatever_the_clock_of_the_server_says(
    guarded: grpc.Channel, store: Store, hours: int
) -> None:
    method, now = SHAPES[0], datetime.now(UTC)
    ended, good = (issue(store, Scope.ADMIN, None, expire_time=now + timedelta(hours=left)) for left in (-1, 1))

    timeout = 60 - min(0, hours) * 3_600  # gRPC counts it from the wrong time too
    with time_machine.travel(now + timedelta(hours=hours), tick=True):
        reasons = [
            refusal(partial(call, authorized(guarded, token), method, request_of(method), timeout=timeout)).reason
            for token in (ended, good)
        ]

    assert reasons[0] == "TOKEN_EXPIRED"
    assert not reasons[1].startswith("TOKEN_")


def test_a_revoked_token_ends_within_the_seconds_that_the_settings_name(guarded: grpc.Channel, store: Store) -> None:
    token = issue(store, Scope.OPERATOR, "default")
    api = Api(authorized(guarded, token), "default")
    request = jobs.ListJobsRequest(parent=api.parent)
    api.jobs.ListJobs(request)
    revoke(store, token)

    time.sleep(CACHE_SECONDS)

    found = refusal(lambda: api.jobs.ListJobs(request))
    assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REVOKED")


def test_a_watch_tells_nothing_more_once_its_token_is_revoked(guarded: grpc.Channel, store: Store, api: Api) -> None:
    token = issue(store, Scope.OPERATOR, api.project)
    watcher = Api(authorized(guarded, token), api.project)
    job = api.create_job()
    events = watcher.watch(job)
    assert next(events).sequence == 1
    revoke(store, token)
    time.sleep(CACHE_SECONDS)

    api.jobs.CancelJob(jobs.CancelJobRequest(name=job.name))

    assert refusal(lambda: next(events)).reason == "TOKEN_REVOKED"


def test_a_wait_tells_nothing_once_its_token_is_revoked(guarded: grpc.Channel, store: Store, api: Api) -> None:
    token = issue(store, Scope.OPERATOR, api.project)
    waiter = Api(authorized(guarded, token), api.project)
    job = api.create_job()
    waiting = waiter.jobs.WaitJob.future(jobs.WaitJobRequest(name=job.name), timeout=60)
    next(waiter.watch(job))  # the server has let in the wait, which came before
    revoke(store, token)
    time.sleep(CACHE_SECONDS)

    api.jobs.CancelJob(jobs.CancelJobRequest(name=job.name))

    assert refusal(waiting.result).reason == "TOKEN_REVOKED"


def test_a_request_that_is_held_back_until_its_token_is_revoked_does_nothing(
    guarded: grpc.Channel, store: Store, api: Api
) -> None:
    token = issue(store, Scope.OPERATOR, api.project)
    job = api.create_job()
    let_in = threading.Event()

    def request() -> Iterator[bytes]:
        assert let_in.wait(60)
        yield jobs.CancelJobRequest(name=job.name).SerializeToString()

    cancel: Any = authorized(guarded, token).stream_unary("/secateur.v1.JobService/CancelJob")
    held = cancel.future(request(), timeout=60)
    api.get_job(job)  # the server has let in the cancellation, which came before
    revoke(store, token)
    time.sleep(CACHE_SECONDS)
    let_in.set()

    assert refusal(held.result).reason == "TOKEN_REVOKED"
    assert api.get_job(job).state == jobs.JOB_STATE_QUEUED


def test_an_upload_is_taken_no_further_once_its_token_is_revoked(guarded: grpc.Channel, store: Store) -> None:
    token = issue(store, Scope.OPERATOR, "default")
    api = Api(authorized(guarded, token), "default")

    def parts() -> Iterator[datasets.UploadDatasetRequest]:
        spec = datasets.DatasetSpec(parent=api.parent, dataset_id="mine", size_bytes=2, sha256="0" * 64)
        yield datasets.UploadDatasetRequest(spec=spec)
        revoke(store, token)
        time.sleep(CACHE_SECONDS)
        yield datasets.UploadDatasetRequest(chunk=b"xx")

    assert refusal(lambda: api.datasets.UploadDataset(parts())).reason == "TOKEN_REVOKED"
