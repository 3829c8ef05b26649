"""Field paths of errors: whoever knows where a value came from puts the path in front."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from secateur.core.errors import SecateurError


@contextmanager
def under(path: str) -> Iterator[None]:
    """Puts `path` in front of the field that an error from inside names, so that the caller finds it in the request."""
    try:
        yield
    except SecateurError as error:
        error.field = f"{path}.{error.field}" if error.field else path
        raise
