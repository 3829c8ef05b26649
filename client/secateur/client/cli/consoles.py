"""Consoles that print what others have written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_COMMANDS: Final = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
"""Characters that a terminal obeys rather than shows."""


def print_line(text: str, *, err: bool = False) -> None:
    """Prints a text that others may have written as one line: runs of white space become spaces, and nothing in it commands.

    Args:
        text: The text.
        err: Whether it goes to standard error.
    """
    typer.echo(" ".join(text.split()).translate(_COMMANDS), err=err)


class PlainConsole(Console):
    """A console on which nothing but its own styles commands the terminal.

    Names and the like come from whoever may write to the project: one with an escape sequence could otherwise retitle the
    reader's terminal, hide lines or write to the clipboard.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yields the segments of a renderable, its texts without commands."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(segment.text.translate(_COMMANDS), segment.style)
