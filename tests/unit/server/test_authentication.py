"""Tokens that are remembered, so that calls cost no query."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from migrations.upgrade import upgrade
from secateur.core.access import Principal, Scope, Token
from secateur.core.errors import Unauthenticated
from secateur.server import authentication
from secateur.server.authentication import Authenticator
from secateur.server.threads import Threads
from secateur.store import Store
from tests.support.access import issue, revoke


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/secateur.db"
    upgrade(url)
    with closing(Store(url)) as store:
        yield store


@pytest.fixture
def threads() -> Iterator[Threads]:
    with closing(Threads(1)) as threads:
        yield threads


async def who(authenticator: Authenticator, token: Token) -> Principal:
    return await authenticator.principal_of([("authorization", f"Bearer {token.text}")])


def rename(store: Store, old: str, new: str) -> None:
    with store.unit_of_work() as work:
        work.session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))
        work.commit()


def test_the_token_that_was_read_first_makes_room(store: Store, threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "MAX_CACHED", 2)
    first, second, third = (issue(store, Scope.OPERATOR, "default") for _ in range(3))

    async def scenario() -> None:
        authenticator = Authenticator(store, threads, cache_seconds=60)
        for token in (first, second, third):
            await who(authenticator, token)
            revoke(store, token)
        assert (await who(authenticator, second)).token == second.id
        with pytest.raises(Unauthenticated) as caught:
            await who(authenticator, first)
        assert caught.value.reason == "TOKEN_REVOKED"

    asyncio.run(scenario())


@pytest.mark.parametrize("gone", [False, True])
def test_a_read_that_failed_is_not_remembered_even_if_its_caller_is_gone(store: Store, threads: Threads, gone: bool) -> None:
    token, go_on = issue(store, Scope.OPERATOR, "default"), threading.Event()

    async def scenario() -> None:
        authenticator = Authenticator(store, threads, cache_seconds=60)
        busy = asyncio.create_task(threads.run(go_on.wait, 5))
        rename(store, "api_tokens", "away")
        call = asyncio.create_task(who(authenticator, token))
        await asyncio.sleep(0)
        if gone:
            call.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError if gone else OperationalError):
            await call
        await asyncio.gather(busy, threads.run(rename, store, "away", "api_tokens"))
        assert (await who(authenticator, token)).token == token.id

    asyncio.run(scenario())
