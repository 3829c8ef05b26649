"""A server that asks for tokens, beside the one that does not."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import grpc
import pytest

from secateur.core.access import Scope
from secateur.server.settings import ServerSettings
from secateur.store import Store
from tests.support.access import CACHE_SECONDS, authorized, issue
from tests.support.server import Api, running


@pytest.fixture(scope="module")
def address(settings: ServerSettings) -> Iterator[str]:
    """Address of a server that asks for tokens, beside the one that does not."""
    chosen = settings.model_copy(update={"authentication": "tokens", "token_cache_seconds": CACHE_SECONDS})
    with running(chosen) as server:
        yield server.address


@pytest.fixture(scope="module")
def guarded(address: str) -> Iterator[grpc.Channel]:
    """A channel to that server, without a token."""
    with grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def api(guarded: grpc.Channel, store: Store) -> Api:
    """Stubs of an operator, in a project of the test's own."""
    project = f"p-{uuid.uuid4().hex[:12]}"
    return Api(authorized(guarded, issue(store, Scope.OPERATOR, project)), project)
