"""Page tokens of lists that show what is built in before what a project has: the place of the last one seen.

Such a page does not shift when something is added or deleted.
"""

from __future__ import annotations

from collections.abc import Container

from secateur.core.errors import InvalidArgument


def token_of(owner: str, identifier: str) -> str:
    """Returns the token of the page behind a place.

    Args:
        owner: Project that has it; empty if it is built in.
        identifier: Its id.
    """
    return f"{owner}/{identifier}"


def place_of(token: str, project: str, built_in: Container[str]) -> tuple[str, str]:
    """Returns owner and id of the place that a token names; two empty texts, which come before all, for an empty token.

    Args:
        token: What a client sent.
        project: Project whose own are listed; empty for none.
        built_in: Ids of what is built in.

    Raises:
        InvalidArgument: PAGE_TOKEN_INVALID.
    """
    owner, slash, identifier = token.partition("/")
    known = identifier in built_in if not owner else owner == project
    if token and not (slash and known):
        raise InvalidArgument(
            "PAGE_TOKEN_INVALID",
            f"Pass on the token that the answer before gave, or leave it empty. Received: {token}",
            field="page_token",
        )
    return owner, identifier
