"""Which resource a short name means: "stm32f746" and "digits" are built in, "my-board" and "my-set" the project's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from secateur.client.errors import PermissionDenied, UsageError


def checked(text: str, field: str = "name") -> str:
    """Returns a text unchanged if it can be sent.

    Args:
        text: What was given, for example a name or an id.
        field: Name of the argument, for the error.

    Raises:
        UsageError: If it is no text that can be sent.
    """
    try:
        text.encode()
    except (AttributeError, UnicodeEncodeError):
        message = f"{field} must be text that UTF-8 can write. Received: {text!r}"
        raise UsageError("VALUE_INVALID", message, field=field) from None
    return text


class ShortNames:
    """Completes short names of one kind of resource. Which ones are built in it asks the service, and remembers.

    Args:
        parent: Resource name of the project.
        collection: What the names of the kind start with, for example "datasets".
        built_in: Reads the resource names of the built-in ones.
    """

    def __init__(self, parent: str, collection: str, built_in: Callable[[], AsyncIterator[str]]) -> None:
        self._parent = parent
        self._collection = collection
        self._read = built_in
        self._built_in: frozenset[str] = frozenset()

    async def complete(self, name: str) -> str:
        """Returns a resource name; a full name or an empty one stays as it is.

        Raises:
            UsageError: If it is no text that can be sent.
            PermissionDenied: If the token may not read which ones are built in.
            SecateurError: If the service fails for good in any other way.
        """
        if not checked(name) or "/" in name:
            return name
        built_in = f"{self._collection}/{name}"
        if built_in not in self._built_in:
            try:
                self._built_in = frozenset([each async for each in self._read()])
            except PermissionDenied as error:
                message = f"A device names things in full: {built_in} or {self._parent}/{built_in}. Received: {name}"
                raise PermissionDenied(error.reason, message, code=error.code) from None
        return built_in if built_in in self._built_in else f"{self._parent}/{built_in}"
