"""Which rows of a list are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class _ListRequest(Protocol):
    @property
    def page_size(self) -> int: ...
    @property
    def page_token(self) -> str: ...
    @property
    def filter(self) -> str: ...
    @property
    def order_by(self) -> str: ...
    @property
    def show_deleted(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class ListRows:
    """A page of a list.

    Args:
        project: Project whose rows are listed.
        page_size: Most rows in the page; 0 for the default.
        page_token: Token of the page before; empty for the first.
        filter_text: Which rows; empty for all.
        order_by: What they are ordered by; empty for the newest first.
        show_deleted: Whether deleted ones are among them.
    """

    project: str
    page_size: int
    page_token: str
    filter_text: str
    order_by: str
    show_deleted: bool

    @classmethod
    def of(cls, project: str, request: _ListRequest) -> ListRows:
        """Returns what a request asks for."""
        return cls(project, request.page_size, request.page_token, request.filter, request.order_by, request.show_deleted)
