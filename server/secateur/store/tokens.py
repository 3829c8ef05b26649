"""API tokens: who may call. Only the digest of a secret is ever kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from secateur.core.access import Scope, Token
from secateur.core.errors import NotFound
from secateur.store.records import TokenRecord
from secateur.store.tables import TokenRow


class TokenRepository:
    """Reads and writes API tokens inside one transaction.

    Args:
        session: Session of the transaction.
        clock: Returns the current time, aware.
    """

    def __init__(self, session: Session, clock: Callable[[], datetime]) -> None:
        self._session = session
        self._clock = clock

    def create(
        self, token: Token, *, scope: Scope, project: str | None, title: str = "", expire_time: datetime | None = None
    ) -> None:
        """Keeps what is needed to know a token again.

        Args:
            token: The token.
            scope: What it is good for.
            project: The only project that its holder may see; None for all.
            title: What it is for, for people.
            expire_time: When it ends; None for never.
        """
        self._session.add(
            TokenRow(
                id=token.id,
                digest=token.digest,
                scope=scope,
                project=project,
                title=title,
                create_time=self._clock(),
                expire_time=expire_time,
            )
        )

    def find(self, token_id: str) -> TokenRecord | None:
        """Returns one token, expired and revoked ones too; None if there is none of that id."""
        row = self._session.get(TokenRow, token_id)
        return None if row is None else _record(row)

    def list(self, project: str | None = None) -> tuple[TokenRecord, ...]:
        """Returns all tokens, oldest first; with a project those that are good for it."""
        statement = select(TokenRow).order_by(TokenRow.create_time, TokenRow.id)
        if project is not None:
            statement = statement.where((TokenRow.project == project) | TokenRow.project.is_(None))
        return tuple(map(_record, self._session.scalars(statement)))

    def revoke(self, token_id: str) -> TokenRecord:
        """Ends a token now. One that was revoked before stays as it is.

        Raises:
            NotFound: TOKEN_NOT_FOUND.
        """
        row = self._session.get(TokenRow, token_id)
        if row is None:
            raise NotFound("TOKEN_NOT_FOUND", f"There is no token with this id; `tokens list` shows all. Received: {token_id}")
        if row.revoke_time is None:
            row.revoke_time = self._clock()
        return _record(row)


def _record(row: TokenRow) -> TokenRecord:
    return TokenRecord(
        id=row.id,
        digest=row.digest,
        scope=row.scope,
        project=row.project,
        title=row.title,
        create_time=row.create_time,
        expire_time=row.expire_time,
        revoke_time=row.revoke_time,
    )
