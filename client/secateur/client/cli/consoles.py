"""Consoles that print what others have written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_COMMANDS: Final = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
"""Characters that a terminal obeys rather than shows."""


class PlainConsole(Console):
    """A console on which nothing but its own styles commands the terminal.

    Names and the like come from whoever may write to the project: one with an escape sequence could otherwise retitle the
    reader's terminal, hide lines or write to the clipboard.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yields the segments of a renderable, its texts without commands."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(segment.text.translate(_COMMANDS), segment.style)
