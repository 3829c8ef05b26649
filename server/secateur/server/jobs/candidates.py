"""Shows what a search looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from secateur.core.errors import FailedPrecondition, InvalidArgument
from secateur.core.reports import SearchCandidate
from secateur.store import Store
from secateur.store.paging import decode_token, encode_token
from secateur.store.records import Page

_DEFAULT_PAGE_SIZE: Final = 200
_MAX_PAGE_SIZE: Final = 1000


@dataclass(frozen=True, slots=True)
class ListSearchCandidates:
    """Which candidates are asked for.

    Args:
        project: Project of the job.
        job: Id of the job.
        target_index: Index into the job's targets.
        page_size: Most candidates in the page; 0 means 200, more than 1,000 is read as 1,000.
        page_token: Token of the page before; empty for the first.
    """

    project: str
    job: str
    target_index: int
    page_size: int = 0
    page_token: str = ""


def list_search_candidates(query: ListSearchCandidates, *, store: Store) -> Page[SearchCandidate]:
    """Returns one page of what the search of a target looked at, best first. They never change.

    Raises:
        NotFound: JOB_NOT_FOUND.
        InvalidArgument: TARGET_UNKNOWN or PAGE_TOKEN_INVALID.
        FailedPrecondition: NO_SEARCH or TARGET_NOT_FINISHED.
    """
    with store.snapshot() as work:
        spec = work.jobs.get(query.project, query.job).spec
        candidates = work.jobs.candidates(query.job, query.target_index)
    if query.target_index >= len(spec.targets):
        raise InvalidArgument(
            "TARGET_UNKNOWN",
            f"The job has {len(spec.targets)} targets, counted from 0. Received: {query.target_index}",
            field="target_index",
        )
    if spec.policy.search is None:
        raise FailedPrecondition(
            "NO_SEARCH",
            f"The job made one plan per target; only a job whose policy has a search keeps candidates. Received: {query.job}",
            field="parent",
        )
    if candidates is None:
        raise FailedPrecondition(
            "TARGET_NOT_FINISHED",
            f"The candidates of a target are kept when it has come to an end; wait for the job. Received: {query.target_index}",
            field="target_index",
        )
    scope = f"candidates/{query.job}/{query.target_index}"
    start = decode_token(query.page_token, scope, _natural) if query.page_token else 0
    end = start + min(query.page_size or _DEFAULT_PAGE_SIZE, _MAX_PAGE_SIZE)
    return Page(candidates[start:end], encode_token(scope, end) if end < len(candidates) else "")


def _natural(start: int) -> int:
    if not isinstance(start, int) or start < 0:
        raise ValueError(f"A position is a count. Received: {start!r}")
    return start
