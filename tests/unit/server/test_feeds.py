"""What a feed keeps of the events of a job."""

from __future__ import annotations

from datetime import UTC, datetime

from secateur.core.jobs import JobState
from secateur.server.jobs.feeds import KEPT, Feed
from secateur.store.records import EventRecord


def events(first: int, last: int) -> tuple[EventRecord, ...]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return tuple(EventRecord("job", number, now, JobState.RUNNING, None, 1, "", None) for number in range(first, last + 1))


def test_a_feed_keeps_the_newest_events_and_says_from_where() -> None:
    feed = Feed(base=10)
    feed.add(events(11, 20), ended=False)
    assert (feed.base, feed.last) == (10, 20)
    assert [event.sequence for event in feed.after(18)] == [19, 20]
    assert feed.after(25) == []

    feed.add(events(21, 20 + KEPT), ended=True)

    assert (feed.base, feed.last, feed.ended) == (20, 20 + KEPT, True)
    assert [event.sequence for event in feed.after(20)] == list(range(21, 21 + KEPT))
