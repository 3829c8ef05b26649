"""API tokens in the store: kept without their secrets, found, listed and ended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from secateur.core.access import Principal, Scope, Token
from secateur.core.errors import NotFound
from secateur.store import Store
from secateur.store.database import make_engine
from secateur.store.records import TokenRecord
from secateur.store.tables import TokenRow
from tests.support.store import Clock


def create(store: Store, scope: Scope = Scope.OPERATOR, project: str | None = "default", **fields: object) -> Token:
    token = Token.generate()
    with store.unit_of_work() as work:
        work.tokens.create(token, scope=scope, project=project, **fields)  # type: ignore[arg-type]
        work.commit()
    return token


def find(store: Store, token: Token) -> TokenRecord | None:
    with store.snapshot() as work:
        return work.tokens.find(token.id)


def test_a_token_is_found_by_its_id_and_known_by_its_secret(store: Store, clock: Clock) -> None:
    ends = clock.now + timedelta(days=90)
    token = create(store, title="CI", expire_time=ends)

    found = find(store, token)

    assert found is not None
    assert token.matches(found.digest)
    assert (found.title, found.create_time, found.expire_time, found.revoke_time) == ("CI", clock.now, ends, None)
    assert found.principal == Principal(token.id, Scope.OPERATOR, "default")
    assert find(store, Token.generate()) is None


def test_neither_the_row_nor_the_repr_has_the_secret(store: Store, database_url: str) -> None:
    token = create(store)
    engine = make_engine(database_url)
    with engine.connect() as connection:
        (row,) = connection.execute(select(TokenRow.__table__)).all()
    engine.dispose()
    assert token.secret not in str(row)
    assert token.digest in row
    assert token.digest not in repr(find(store, token))


def test_a_list_shows_what_is_good_for_a_project(store: Store, clock: Clock) -> None:
    made = []
    for scope, project in ((Scope.OPERATOR, "one"), (Scope.DEVICE, "two"), (Scope.ADMIN, None)):
        made.append(create(store, scope, project).id)
        clock.advance(1)
    with store.snapshot() as work:
        assert [record.id for record in work.tokens.list()] == made
        assert [record.id for record in work.tokens.list("two")] == made[1:]


def test_revoking_ends_a_token_once(store: Store, clock: Clock) -> None:
    token = create(store)
    first = clock.now
    for _ in range(2):
        with store.unit_of_work() as work:
            work.tokens.revoke(token.id)
            work.commit()
        clock.advance(60)
    found = find(store, token)
    assert found is not None
    assert found.revoke_time == first


def test_revoking_what_is_not_there_is_refused(store: Store) -> None:
    with store.unit_of_work() as work, pytest.raises(NotFound) as caught:
        work.tokens.revoke("0123456789abcdef")
    assert caught.value.reason == "TOKEN_NOT_FOUND"
