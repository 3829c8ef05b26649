"""Who calls: the bearer token in a call's metadata, resolved to a principal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeAlias

from secateur.core.access import ANYBODY, Principal, Token
from secateur.core.errors import Unauthenticated
from secateur.server.threads import Threads
from secateur.store import Store
from secateur.store.records import TokenRecord

AUTHORIZATION: Final = "authorization"
"""Metadata key of the token."""

MAX_CACHED: Final = 10_000
"""Most tokens that are remembered, ids that nobody has among them; the one that was read first makes room."""

_SCHEME: Final = "bearer "
_HOW: Final = (
    "set SECATEUR_TOKEN, or send metadata `authorization: Bearer sct_...`; an operator makes tokens with "
    "`secateur-admin tokens create`"
)

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]
"""Metadata of a call, as gRPC hands it over."""


class Authentication(Protocol):
    """Tells who calls."""

    async def principal_of(self, metadata: Metadata) -> Principal:
        """Returns who sends a call with such metadata, or raises Unauthenticated."""

    async def check_still_valid(self, principal: Principal) -> None:
        """Raises Unauthenticated if one who was known when a call began no longer is."""


class NoAuthentication:
    """Asks for no token: whoever reaches the server may do everything."""

    async def principal_of(self, metadata: Metadata) -> Principal:  # noqa: ARG002 - see `Authentication`
        """Returns that it is anybody."""
        return ANYBODY

    async def check_still_valid(self, principal: Principal) -> None:
        """Anybody may go on."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A token, and when it ends by this process's `monotonic`: the machine's clock may be wrong. None for never."""

    record: TokenRecord
    ends_at: float | None


@dataclass(frozen=True, slots=True)
class _Read:
    """What is being read, or was read, of one token, and until when that may be relied on."""

    known: asyncio.Future[_Known | None]
    stale_at: float


class Authenticator:
    """Tells who calls from the token that the call carries.

    Tokens are read from the store once and remembered for a while, so that calls cost no query: a token that is revoked is
    good for `cache_seconds` more at most.

    Args:
        store: Where tokens are.
        threads: Where the store is read.
        cache_seconds: How long what was read is relied on.
    """

    def __init__(self, store: Store, threads: Threads, *, cache_seconds: float) -> None:
        self._store = store
        self._threads = threads
        self._cache_seconds = cache_seconds
        self._cache: dict[str, _Read] = {}

    async def principal_of(self, metadata: Metadata) -> Principal:
        """Returns who calls.

        Raises:
            Unauthenticated: TOKEN_MISSING, TOKEN_MALFORMED, TOKEN_INVALID (there is no such token, or it has another secret),
                TOKEN_EXPIRED or TOKEN_REVOKED. No message repeats what was sent.
            Unavailable: DATABASE_UNAVAILABLE.
        """
        token = _token_in(metadata)
        known = await self._known(token.id)
        if not token.matches(known.record.digest if known is not None else None) or known is None:
            raise _not_known()
        _check_not_ended(known)  # only who has the secret learns of it
        return known.record.principal

    async def check_still_valid(self, principal: Principal) -> None:
        """Looks again whether the token has ended; that its secret is the right one was seen when the call began.

        Raises:
            Unauthenticated: TOKEN_INVALID (it is there no more), TOKEN_EXPIRED or TOKEN_REVOKED.
            Unavailable: DATABASE_UNAVAILABLE.
        """
        known = await self._known(principal.token)
        if known is None:
            raise _not_known()
        _check_not_ended(known)

    async def _known(self, token_id: str) -> _Known | None:
        read = self._cache.get(token_id)
        if read is None or read.stale_at <= time.monotonic():
            # One query for all calls that wait for it; it goes on when the call that began it is cancelled.
            read = _Read(asyncio.ensure_future(self._threads.run(self._find, token_id)), time.monotonic() + self._cache_seconds)
            read.known.add_done_callback(partial(self._forget_failed, token_id))
            self._cache[token_id] = read
            if len(self._cache) > MAX_CACHED:
                del self._cache[next(iter(self._cache))]
        return await asyncio.shield(read.known)

    def _forget_failed(self, token_id: str, known: asyncio.Future[_Known | None]) -> None:
        # Whether or not somebody still waits for it.
        if known.cancelled() or known.exception() is not None:
            self._cache.pop(token_id, None)

    def _find(self, token_id: str) -> _Known | None:
        with self._store.snapshot() as work:
            record = work.tokens.find(token_id)
            if record is None:
                return None
            if record.expire_time is None:
                return _Known(record, None)
            return _Known(record, time.monotonic() + (record.expire_time - work.now()).total_seconds())


def _not_known() -> Unauthenticated:
    return Unauthenticated("TOKEN_INVALID", "This token is not known here; check that it is whole and for this server")


def _check_not_ended(known: _Known) -> None:
    if known.record.revoke_time is not None:
        raise Unauthenticated("TOKEN_REVOKED", "This token was revoked; ask your operator for a new one")
    if known.ends_at is not None and known.ends_at <= time.monotonic():
        raise Unauthenticated("TOKEN_EXPIRED", "This token has expired; ask your operator for a new one")


def _token_in(metadata: Metadata) -> Token:
    values = [value for key, value in metadata if key == AUTHORIZATION]
    if not values:
        raise Unauthenticated("TOKEN_MISSING", f"This server asks for a token: {_HOW}")
    value = values[0]
    token = None
    if len(values) == 1 and isinstance(value, str) and value[: len(_SCHEME)].lower() == _SCHEME:
        token = Token.parse(value[len(_SCHEME) :])
    if token is None:
        raise Unauthenticated("TOKEN_MALFORMED", f"What was sent is no token of this service: {_HOW}")
    return token
