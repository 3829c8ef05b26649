"""Filtered and ordered lists: the rows that plain Python would choose, on both databases, in pages that do not shift."""

from __future__ import annotations

import base64
import json
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobStage, JobState
from secateur.core.planning import Plan
from secateur.store import Store
from secateur.store.ledger import JobLedger
from secateur.store.paging import encode_token
from secateur.store.records import JobRecord
from secateur.store.tables import JobRow, ModelRow
from tests.support.store import PROJECT, Clock, a_report, claim, create

Test: TypeAlias = tuple[str, Callable[[JobRecord], bool]]
"""A filter, and what it says in Python."""

START = datetime(2026, 1, 1, tzinfo=UTC)
TITLES = ["", "nightly", "Nightly run", "a%b_c", 'quote " back \\ slash', "né"]
TEXTS = [("display_name", operator.attrgetter("display_name")), ("error.reason", operator.attrgetter("error_reason"))]
LABELS: list[dict[str, str]] = [{}, {"site": "a"}, {"site": "b", "team": ""}, {"odd key.x": "it's", "site": "a"}]
COMPARE = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def present(value: Any, test: Callable[[Any], bool]) -> bool:
    return value is not None and test(value)


@st.composite
def comparisons(draw: st.DrawFn) -> Test:
    sign = draw(st.sampled_from(sorted(COMPARE)))
    compare = COMPARE[sign]
    equality = draw(st.sampled_from(["=", "!="]))
    match draw(st.integers(0, 9)):
        case 0:
            state = draw(st.sampled_from(JobState))
            return f"state {equality} {state.value}", lambda job: COMPARE[equality](job.state, state)
        case 1:
            stage = draw(st.sampled_from(JobStage))
            return f"stage{equality}{stage.value}", lambda job: present(job.stage, lambda own: COMPARE[equality](own, stage))
        case 2:
            title, (name, of) = draw(st.sampled_from(TITLES)), draw(st.sampled_from(TEXTS))
            return f"{name} {equality} {quoted(title)}", lambda job: COMPARE[equality](of(job), title)
        case 3:
            part, (name, of) = draw(st.sampled_from(["n", "N", "%", "_", "\\", '"', "", "é"])), draw(st.sampled_from(TEXTS))
            return f"{name}:{quoted(part)}", lambda job: part in of(job)
        case 4:
            key, value = (
                draw(st.sampled_from(["site", "team", "odd key.x", "none"])),
                draw(st.sampled_from(["a", "b", "", "it's"])),
            )
            return f"labels.{quoted(key)} {equality} {quoted(value)}", lambda job: present(
                job.labels.get(key), lambda own: COMPARE[equality](own, value)
            )
        case 5:
            key = draw(st.sampled_from(["site", "team", "odd key.x", "*"]))
            return f"labels:{quoted(key)}", lambda job: key in job.labels
        case 6:
            number: float = draw(st.integers(-1, 4) | st.sampled_from([0.5, 1.5, 2**62, -(2**40), 1e18]))
            return f"attempt {sign} {number}", lambda job: compare(job.attempt, number)
        case 7:
            field = draw(st.sampled_from(["create_time", "start_time", "end_time"]))
            moment = START + timedelta(hours=draw(st.integers(-1, 9)))
            return f"{field} {sign} {moment.isoformat()}", lambda job: present(
                getattr(job, field), lambda own: compare(own, moment)
            )
        case 8:
            return "labels:*", lambda job: bool(job.labels)
        case _:
            field = draw(st.sampled_from(["start_time", "end_time", "stage", "display_name"]))
            return f"{field}:*", lambda job: getattr(job, field) not in (None, "")


def joined(word: str, decide: Callable[[Iterable[bool]], bool], parts: list[Test]) -> Test:
    return f" {word} ".join(f"({text})" for text, _ in parts), lambda job: decide(test(job) for _, test in parts)


def combined(inner: st.SearchStrategy[Test]) -> st.SearchStrategy[Test]:
    several = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        several.map(partial(joined, "AND", all)),
        several.map(partial(joined, "OR", any)),
        inner.map(lambda part: (f"NOT ({part[0]})", lambda job: not part[1](job))),
    )


FILTERS = st.recursive(comparisons(), combined, max_leaves=6)


@pytest.fixture
def jobs(store: Store, graph: LayerGraph, clock: Clock) -> list[JobRecord]:
    """Jobs of every sort, oldest first."""
    made = []
    states, stages = list(JobState), [None, *JobStage]
    for place in range(24):
        job = create(store, graph, seed=place)
        times = [START + timedelta(hours=place % 8 + step) if place % (step + 2) else None for step in (0, 1)]
        with store.unit_of_work() as work:
            work.session.execute(
                update(JobRow)
                .where(JobRow.id == job.id)
                .values(
                    state=states[place % len(states)],
                    stage=stages[place % len(stages)],
                    display_name=TITLES[place % len(TITLES)],
                    error_reason=TITLES[place % 4],
                    labels=LABELS[place % len(LABELS)],
                    attempt=place % 4,
                    start_time=times[0],
                    end_time=times[1],
                )
            )
            work.commit()
        clock.advance(1800 if place % 3 else 0)  # some at the same moment
        with store.snapshot() as work:
            made.append(work.jobs.get(PROJECT, job.id))
    return made


def pages(store: Store, **asked: Any) -> Iterator[JobRecord]:
    token = ""
    while True:
        with store.snapshot() as work:
            page = work.jobs.list(PROJECT, page_token=token, **asked)
        yield from page.items
        if not (token := page.next_page_token):
            return


def test_a_filter_finds_what_plain_python_finds(store: Store, jobs: list[JobRecord]) -> None:
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(FILTERS)
    def check(asked: Test) -> None:
        text, test = asked
        assert {job.id for job in pages(store, filter_text=text, page_size=100)} == {job.id for job in jobs if test(job)}, text

    check()
    # What so few examples may leave out.
    for label in ({"site": "a"}, {"team": ""}, {"odd key.x": "it's"}):
        ((key, value),) = label.items()
        found = {job.id for job in pages(store, filter_text=f"labels.{quoted(key)} = {quoted(value)}", page_size=100)}
        assert found == {job.id for job in jobs if label.items() <= job.labels.items()}
    own = f"architecture = projects/{PROJECT}/architectures/{jobs[0].spec.architecture[:16]}"
    assert len(list(pages(store, filter_text=own, page_size=100))) == len(jobs)
    for name, of in TEXTS:
        assert {of(job) for job in pages(store, filter_text=f"NOT {name}:*")} == {""}


ORDERS: dict[str, Callable[[Any], Any]] = {
    "": lambda job: [-job.create_time.timestamp(), _reversed(job.id)],
    "create_time": lambda job: [job.create_time.timestamp(), job.id],
    "attempt desc": lambda job: [-job.attempt, _reversed(job.id)],
    "attempt, create_time desc": lambda job: [job.attempt, -job.create_time.timestamp(), _reversed(job.id)],
    "end_time desc, attempt": lambda job: [-job.end_time.timestamp() if job.end_time else 0, job.attempt, job.id],
}


def test_pages_go_through_every_row_once_in_the_order_asked(store: Store, jobs: list[JobRecord]) -> None:
    for order_by, key in ORDERS.items():
        found = [job.id for job in pages(store, order_by=order_by, page_size=5)]

        assert found == [job.id for job in sorted(jobs, key=key)], order_by


def _reversed(text: str) -> list[int]:
    return [-ord(sign) for sign in text]


def test_rows_that_come_in_between_do_not_shift_what_follows(store: Store, graph: LayerGraph, jobs: list[JobRecord]) -> None:
    expected = [job.id for job in pages(store, filter_text="attempt >= 1", order_by="attempt desc, create_time")]
    rows = pages(store, filter_text="attempt >= 1", order_by="attempt desc, create_time", page_size=2)
    found = []
    for place, row in enumerate(rows):
        found.append(row.id)
        added = create(store, graph, seed=1000 + place)
        with store.unit_of_work() as work:
            work.session.execute(update(JobRow).where(JobRow.id == added.id).values(attempt=3, create_time=START))
            work.commit()

    assert [each for each in found if each in expected] == expected


def test_a_token_goes_on_with_its_own_question_only(store: Store, jobs: list[JobRecord]) -> None:
    with store.snapshot() as work:
        asked: dict[str, Any] = {"filter_text": "attempt >= 1", "order_by": "attempt"}
        token = work.jobs.list(PROJECT, page_size=2, **asked).next_page_token
        others: list[dict[str, Any]] = [{**asked, "order_by": "attempt desc"}, {**asked, "filter_text": "attempt >= 2"}, {}]
        for other in others:
            with pytest.raises(InvalidArgument) as caught:
                work.jobs.list(PROJECT, page_token=token, **other)
            assert caught.value.reason == "PAGE_TOKEN_INVALID"


def test_a_token_that_was_tampered_with_is_refused(store: Store) -> None:
    now, first, last = START.isoformat(), "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"
    times: list[list[Any]] = [["x", "id"], [None, "id"], [1e400, "id"], [now[:19], "id"], [first, "id"], [last, "id"]]
    for position in (*times, [1], [now], [now, 2], [now, "id", "id"], [True, []], [now, "a\0"]):
        with store.snapshot() as work, pytest.raises(InvalidArgument) as caught:
            work.jobs.list(PROJECT, page_token=encode_token(f"jobs/{PROJECT}", *position))
        assert caught.value.reason == "PAGE_TOKEN_INVALID"


def test_a_number_in_a_token_is_one_that_a_database_has(store: Store, graph: LayerGraph) -> None:
    for seed in range(2):
        create(store, graph, seed=seed)
    with store.snapshot() as work:
        token = work.jobs.list(PROJECT, page_size=1, order_by="attempt").next_page_token
        scope = json.loads(base64.urlsafe_b64decode(token))[0]
        for value in (2**63, -(2**63), math.inf, math.nan, "0"):
            with pytest.raises(InvalidArgument) as caught:
                work.jobs.list(PROJECT, order_by="attempt", page_token=encode_token(scope, value, "id"))
            assert caught.value.reason == "PAGE_TOKEN_INVALID"


def test_models_are_chosen_by_what_was_measured(
    store: Store, ledger: JobLedger, graph: LayerGraph, chosen_plan: Plan, clock: Clock
) -> None:
    held = claim(store, create(store, graph, targets=3))
    ids = []
    for index, accuracy in enumerate((0.90, 0.99, 0.95)):
        clock.advance(1)
        ids.append(ledger.settle_target(held, a_report(graph, chosen_plan, target_index=index, accuracy=accuracy)))
    with store.unit_of_work() as work:
        for place, latency_ms in enumerate((None, 0.0)):
            work.session.execute(update(ModelRow).where(ModelRow.id == ids[place]).values(latency_ms=latency_ms))
        work.commit()

    def found(filter_text: str, order_by: str = "accuracy") -> list[int]:
        with store.snapshot() as work:
            return [ids.index(row.id) for row in work.models.list(PROJECT, filter_text=filter_text, order_by=order_by).items]

    assert found("accuracy > 0.9") == [2, 1]
    assert found(f"job = projects/{PROJECT}/jobs/{held.job_id} AND target_index >= 1") == [2, 1]
    assert found("create_time:*", "create_time") == [0, 1, 2]
    assert found("flash_bytes <= 70000 AND arena_bytes < 40000.5", "accuracy desc") == [1, 2, 0]
    assert found("latency_ms < 2") == [2, 1]
    assert found("NOT latency_ms < 2") == [0]
    assert found("", "latency_ms, accuracy desc") == [0, 1, 2]
    assert found(f"architecture = projects/default/architectures/{graph.digest[:16]} AND dataset = datasets/digits") == [
        0,
        2,
        1,
    ]
    assert found("device_profile = deviceProfiles/stm32f746") == [0, 2, 1]

    figures = ["flash_bytes", "arena_bytes", "process_peak_bytes", "parameters", "macs", "memory_bytes", "activation_bytes"]
    with store.unit_of_work() as work:
        values = {figure: 10_000 + number for number, figure in enumerate(figures)}
        work.session.execute(update(ModelRow).where(ModelRow.id == ids[1]).values(values))
        work.commit()
    for figure, value in values.items():
        assert found(f"{figure} = {value}") == [1]
