"""Tokens of tests, and channels whose every call carries one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import grpc
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from secateur.core.access import Scope, Token
from secateur.server.app import SERVICES
from secateur.store import Store

CACHE_SECONDS: Final = 0.5
"""For how long the servers of these tests take a token for good without looking again."""


def issue(store: Store, scope: Scope, project: str | None, *, expire_time: datetime | None = None) -> Token:
    """Makes a token that the server knows."""
    token = Token.generate()
    with store.unit_of_work() as work:
        work.tokens.create(token, scope=scope, project=project, expire_time=expire_time)
        work.commit()
    return token


def revoke(store: Store, token: Token) -> None:
    """Ends a token."""
    with store.unit_of_work() as work:
        work.tokens.revoke(token.id)
        work.commit()


class _Authorization(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, value: str) -> None:
        self._value = value

    def _add(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return continuation(details._replace(metadata=[*(details.metadata or ()), ("authorization", self._value)]), request)

    intercept_unary_unary: Any = _add
    intercept_unary_stream: Any = _add
    intercept_stream_unary: Any = _add
    intercept_stream_stream: Any = _add


def authorized(channel: grpc.Channel, token: Token | str) -> grpc.Channel:
    """Returns a channel that sends a token, or whatever the text is, with every call."""
    value = token if isinstance(token, str) else f"Bearer {token.text}"
    return grpc.intercept_channel(channel, _Authorization(value))


METHODS: Final[tuple[MethodDescriptor, ...]] = tuple(
    method for service in SERVICES for method in Default().FindServiceByName(service).methods
)
"""Every method of the API."""


def path_of(method: MethodDescriptor) -> str:
    """Returns the full name of a method as gRPC writes it."""
    return f"/{method.containing_service.full_name}/{method.name}"


def request_of(method: MethodDescriptor, **fields: Any) -> Any:
    """Returns a request of a method."""
    return GetMessageClass(method.input_type)(**fields)


def call(channel: grpc.Channel, method: MethodDescriptor, request: Message, *, timeout: float = 60) -> list[Any]:
    """Calls any method with one request and returns its answers."""
    shape = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    stub = getattr(channel, shape)(
        path_of(method),
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    answer = stub(iter([request]) if method.client_streaming else request, timeout=timeout)
    return list(answer) if method.server_streaming else [answer]


def field_at(method: MethodDescriptor, path: tuple[str, ...]) -> FieldDescriptor:
    """Returns the field of a method's request at a path."""
    message: Any = method.input_type
    for name in path[:-1]:
        message = message.fields_by_name[name].message_type
    field: FieldDescriptor = message.fields_by_name[path[-1]]
    return field


def method_id(method: MethodDescriptor) -> str:
    """Names a parameter of a test that is run for each method."""
    return method.name
