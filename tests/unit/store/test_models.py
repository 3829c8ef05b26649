"""Models: found by id, by project and by family."""

from __future__ import annotations

import pytest

from secateur.core.datasets import DatasetName
from secateur.core.errors import NotFound
from secateur.core.graph import LayerGraph
from secateur.core.planning import Plan
from secateur.store import Store
from secateur.store.ledger import JobLedger
from tests.support.store import PROJECT, Clock, a_report, claim, create


@pytest.fixture
def model_ids(store: Store, ledger: JobLedger, graph: LayerGraph, chosen_plan: Plan, clock: Clock) -> list[str]:
    """Three models of one family, made one after the other, the second the most accurate."""
    held = claim(store, create(store, graph, targets=3))
    ids = []
    for index, accuracy in enumerate((0.90, 0.99, 0.95)):
        clock.advance(1)
        report = a_report(graph, chosen_plan, target_index=index, accuracy=accuracy)
        ids.append(str(ledger.settle_target(held, report)))
    return ids


def test_a_list_has_the_newest_first(store: Store, model_ids: list[str]) -> None:
    with store.snapshot() as work:
        first = work.models.list(PROJECT, page_size=2)
        rest = work.models.list(PROJECT, page_size=2, page_token=first.next_page_token)
    assert [model.id for model in first.items + rest.items] == model_ids[::-1]


def test_a_family_has_the_most_accurate_first(store: Store, graph: LayerGraph, model_ids: list[str]) -> None:
    with store.snapshot() as work:
        family = work.models.family(PROJECT, graph.digest, DatasetName("digits"))
        assert work.models.family(PROJECT, graph.digest, DatasetName("other")) == ()
        assert work.models.family(PROJECT, "0" * 64, DatasetName("digits")) == ()
        assert work.models.family("other", graph.digest, DatasetName("digits")) == ()
    assert [model.id for model in family] == [model_ids[1], model_ids[2], model_ids[0]]


@pytest.mark.parametrize(("project", "known"), [("other", True), (PROJECT, False)])
def test_a_model_of_nobody_or_another_project_is_not_found(
    store: Store, model_ids: list[str], project: str, known: bool
) -> None:
    with store.snapshot() as work, pytest.raises(NotFound) as caught:
        work.models.get(project, model_ids[0] if known else "nobody")
    assert caught.value.reason == "MODEL_NOT_FOUND"
