"""The channel to the server: one wrapper for every call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from functools import cached_property
from typing import Final, TypeVar

import grpc

from secateur.client._channel import Connection
from secateur.client._fork import begin_call
from secateur.client._retry import Attempts, Retry, check_seconds
from secateur.client._status import error_of
from secateur.client.errors import DeadlineExceeded, Internal, SecateurError, Unavailable, UsageError
from secateur.v1 import (
    architecture_service_pb2_grpc,
    dataset_service_pb2_grpc,
    device_profile_service_pb2_grpc,
    job_service_pb2_grpc,
    model_service_pb2_grpc,
    plan_service_pb2_grpc,
)

_MAX_MESSAGE_BYTES: Final = 64 * 2**20
"""Answers may carry many models with all their samples; files move in chunks of at most 1 MiB."""

_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # A server that restarts is found again at once: pauses are `Retry`'s business.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

_ACCEPTED: Final = ("x-upload", "accepted")
"""Initial metadata of an upload that the server wants."""

_OPEN: Final = ("x-watch", "open")
"""Initial metadata of a watch that the server has begun."""

_RequestT = TypeVar("_RequestT")
_ResponseT = TypeVar("_ResponseT")
_log = logging.getLogger("secateur.client")


class Transport:
    """Calls the services of one server. The channel opens with the first call, in the loop that makes it.

    Args:
        connection: Where the server is and how to speak to it.
        timeout: Wall-clock bound of one logical call, retries included, in seconds.
        retry: When to try again.
    """

    def __init__(self, connection: Connection, timeout: float, retry: Retry) -> None:
        check_seconds("timeout", timeout)
        connection.check()
        self._connection = connection
        self.address = connection.address
        self.timeout = timeout
        self.retry = retry
        self._answered = False
        self._closed = False

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        return self._connection.open(_OPTIONS)

    @cached_property
    def architectures(self) -> architecture_service_pb2_grpc.ArchitectureServiceAsyncStub:
        """Stub of ArchitectureService."""
        return architecture_service_pb2_grpc.ArchitectureServiceStub(self._channel)

    @cached_property
    def datasets(self) -> dataset_service_pb2_grpc.DatasetServiceAsyncStub:
        """Stub of DatasetService."""
        return dataset_service_pb2_grpc.DatasetServiceStub(self._channel)

    @cached_property
    def device_profiles(self) -> device_profile_service_pb2_grpc.DeviceProfileServiceAsyncStub:
        """Stub of DeviceProfileService."""
        return device_profile_service_pb2_grpc.DeviceProfileServiceStub(self._channel)

    @cached_property
    def jobs(self) -> job_service_pb2_grpc.JobServiceAsyncStub:
        """Stub of JobService."""
        return job_service_pb2_grpc.JobServiceStub(self._channel)

    @cached_property
    def models(self) -> model_service_pb2_grpc.ModelServiceAsyncStub:
        """Stub of ModelService."""
        return model_service_pb2_grpc.ModelServiceStub(self._channel)

    @cached_property
    def plans(self) -> plan_service_pb2_grpc.PlanServiceAsyncStub:
        """Stub of PlanService."""
        return plan_service_pb2_grpc.PlanServiceStub(self._channel)

    def attempts(self, timeout: float | None = None) -> Attempts:
        """Returns the tries of one logical call that may take `timeout` seconds (None for any time).

        Raises:
            UsageError: If this process forked from one that has called.
        """
        begin_call()
        return Attempts(self.retry, lambda: self.retry.total if self._answered else self.retry.first_contact, timeout)

    async def call(self, attempt: Callable[[float | None], Awaitable[_ResponseT]]) -> _ResponseT:
        """Makes one logical call, trying again as `Retry` says.

        Args:
            attempt: Starts one try, given the seconds that it may take. It sends the same request each time.

        Raises:
            SecateurError: If the call fails for good.
        """
        attempts = self.attempts(self.timeout)
        while True:
            try:
                with self._until_closed():
                    response = await attempt(attempts.remaining)
            except grpc.aio.AioRpcError as error:
                failure = self.failure(error)
            else:
                self._answered = True
                return response
            await attempts.pause(failure)

    async def unary(self, method: grpc.aio.UnaryUnaryMultiCallable[_RequestT, _ResponseT], request: _RequestT) -> _ResponseT:
        """Makes one logical call of a method with one request and one response. Raises as `call` does."""
        return await self.call(lambda timeout: method(request, timeout=timeout))

    async def settle(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_RequestT, _ResponseT], request: _RequestT, done: str
    ) -> _ResponseT | None:
        """Makes one logical call of a method that takes no request id: a second try may meet what the first has done.

        Args:
            method: The method.
            request: Its request.
            done: Reason of the error that tells so.

        Returns:
            The response; None if an earlier try has done it, and its answer was lost.

        Raises:
            SecateurError: If the call fails for good.
        """
        tries = 0

        def attempt(timeout: float | None) -> Awaitable[_ResponseT]:
            nonlocal tries
            tries += 1
            return method(request, timeout=timeout)

        try:
            return await self.call(attempt)
        except SecateurError as error:
            if tries > 1 and error.reason == done:
                return None
            raise

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[_RequestT, _ResponseT],
        request: _RequestT,
        *,
        idle: float | None = None,
        on_open: Callable[[], None] | None = None,
    ) -> AsyncGenerator[_ResponseT, None]:
        """Yields what one try of a streaming call sends.

        Args:
            method: What is called. The call is cancelled when the generator is closed before its end.
            request: The request.
            idle: Longest silence between two responses, in seconds; None for any.
            on_open: Called once the server says that it has begun a watch, which may be long before the first response.

        Raises:
            SecateurError: If the stream breaks; starting again where it broke is up to the caller.
        """
        self._check_open()
        responses = method(request)
        iterator = aiter(responses)
        try:
            while True:
                try:
                    with self._until_closed():
                        async with asyncio.timeout(idle):
                            if on_open is not None and _OPEN in tuple(await responses.initial_metadata()):
                                on_open()
                                on_open = None
                            response = await anext(iterator)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    failure: SecateurError = DeadlineExceeded("DEADLINE_EXCEEDED", f"The server sent nothing for {idle:g} s")
                    break
                except grpc.aio.AioRpcError as error:
                    failure = self.failure(error)
                    break
                self._answered = True
                yield response
        finally:
            responses.cancel()
        raise failure

    async def send(
        self, method: Callable[[], grpc.aio.StreamUnaryCall[_RequestT, _ResponseT]], requests: AsyncGenerator[_RequestT, None]
    ) -> _ResponseT:
        """Makes one try of a call that takes many requests, and returns its answer.

        The first request is sent alone; the others follow once the server says in its initial metadata that it wants them. gRPC
        would lose the reason of a refusal that arrives while a request is being written.

        Args:
            method: What is called. The call is cancelled if it takes longer than `timeout` to take a request, or to answer the
                last one.
            requests: What is sent.

        Raises:
            SecateurError: If the call fails; starting again where it broke is up to the caller.
        """
        self._check_open()
        call = method()
        sent_all = wanted = False
        try:
            with self._until_closed():
                with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it has ended early: the answer tells why
                    async with aclosing(requests):
                        async for request in requests:
                            async with asyncio.timeout(self.timeout):
                                await call.write(request)
                                wanted = wanted or _ACCEPTED in tuple(await call.initial_metadata())
                            if not wanted:
                                break
                        else:
                            await call.done_writing()
                            sent_all = True
                async with asyncio.timeout(self.timeout):
                    response = await call
        except TimeoutError:
            raise DeadlineExceeded("DEADLINE_EXCEEDED", f"The server did nothing for {self.timeout:g} s") from None
        except grpc.aio.AioRpcError as error:
            failure = self.failure(error)
            if isinstance(failure, Internal) and not failure.metadata and wanted and not sent_all:
                # What gRPC puts in the place of the status: the server ended the call while a request was being written. Of a
                # defect the server itself would tell the id of the request.
                failure = Unavailable("UPLOAD_BROKEN", f"The server at {self.address} ended the upload before its end")
            raise failure from None
        finally:
            call.cancel()
        self._answered = True
        return response

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("CLIENT_CLOSED", "The client is closed; make a new one")

    @contextmanager
    def _until_closed(self) -> Iterator[None]:
        """A call within ends with CLIENT_CLOSED when the client is closed; gRPC would say that its task was cancelled."""
        self._check_open()
        try:
            yield
        except (asyncio.CancelledError, grpc.aio.AioRpcError):
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                self._check_open()
            raise

    def failure(self, error: grpc.aio.AioRpcError) -> SecateurError:
        """Returns the exception for a failed try, and notes whether the server was there to fail it."""
        failure = error_of(error, self.address, encrypted=self._connection.tls is not None)
        self._answered |= not isinstance(failure, Unavailable) or failure.reason != failure.code
        _log.debug("call to %s failed: %s", self.address, failure)
        return failure

    async def close(self) -> None:
        """Closes the channel. Closing twice is fine."""
        opened = not self._closed and "_channel" in self.__dict__
        self._closed = True
        if opened:
            await self._channel.close()
