"""Tokens: what they look like, what is kept of them, and what nobody gets to see."""

from __future__ import annotations

import hashlib
from hmac import compare_digest

import pytest

from secateur.core.access import Token


def test_a_token_is_read_as_it_is_written() -> None:
    token = Token.generate()
    assert token.text.startswith("sct_")
    assert Token.parse(token.text) == token


def test_no_two_tokens_are_alike_and_a_secret_has_256_bits() -> None:
    first, second = Token.generate(), Token.generate()
    assert first.id != second.id
    assert first.secret != second.secret
    assert len(bytes.fromhex(first.secret)) == 32


def test_what_is_kept_is_the_sha_256_of_the_secret() -> None:
    token = Token.generate()
    assert token.digest == hashlib.sha256(token.secret.encode()).hexdigest()
    assert token.matches(token.digest)
    assert not token.matches(Token.generate().digest)
    assert not token.matches(None)


def test_digests_are_compared_in_constant_time_whether_there_is_a_token_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def watched(first: str, second: str) -> bool:
        compared.append((len(first), len(second)))
        return compare_digest(first, second)

    monkeypatch.setattr("hmac.compare_digest", watched)
    token = Token.generate()
    for digest in (token.digest, Token.generate().digest, None):
        token.matches(digest)
    assert compared == [(64, 64)] * 3


def test_the_repr_keeps_the_secret() -> None:
    token = Token.generate()
    assert token.id in repr(token)
    assert token.secret not in f"{token!r} {token}"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text.upper(),
        lambda text: text.replace("sct_", "xyz_"),
        lambda text: text + "\n",
        lambda text: text.replace("_", "-"),
    ],
)
def test_what_is_no_token_is_none(change: object) -> None:
    assert callable(change)
    assert Token.parse(change(Token.generate().text)) is None
