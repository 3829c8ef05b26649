"""Models: found by id, by project and by family."""

from __future__ import annotations

import pytest

from secateur.core.datasets import DatasetName
from secateur.core.errors import NotFound
from secateur.core.graph import LayerGraph
from secateur.core.planning import Plan
from secateur.core.reports import ARENA_BYTES, PROCESS_PEAK_BYTES
from secateur.core.resources import Resource
from secateur.store import Store
from secateur.store.families import Family
from secateur.store.ledger import JobLedger
from tests.support.store import PROJECT, Clock, a_report, claim, create


def family(graph: LayerGraph, dataset: str = "digits") -> Family:
    return Family.of(PROJECT, graph.digest, DatasetName(dataset))


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


def test_a_family_is_offered_as_numbers(store: Store, graph: LayerGraph, chosen_plan: Plan, model_ids: list[str]) -> None:
    with store.snapshot() as work:
        offers = work.families.offers(family(graph), ram_measurement=ARENA_BYTES)
        assert work.families.offers(family(graph, "other"), ram_measurement=ARENA_BYTES) == ()
        assert work.families.offers(family(graph)._replace(project="other"), ram_measurement=ARENA_BYTES) == ()
        assert work.families.offers(family(graph)._replace(uploaded=True), ram_measurement=ARENA_BYTES) == ()
        linux = work.families.offers(family(graph), ram_measurement=PROCESS_PEAK_BYTES)
        layers = work.families.work(family(graph))
    assert {offer.id: offer.figures[Resource.ACCURACY] for offer in offers} == dict(
        zip(model_ids, (0.90, 0.99, 0.95), strict=True)
    )
    expected = chosen_plan.cost.by_resource() | {
        Resource.FLASH_BYTES: 70_000,
        Resource.RAM_BYTES: 40_000,
        Resource.ACCURACY: 0.90,
    }
    assert next(offer.figures for offer in offers if offer.id == model_ids[0]) == expected
    assert all(Resource.RAM_BYTES not in offer.figures for offer in linux)  # nobody measured it
    assert layers == dict.fromkeys(model_ids, chosen_plan.cost.work)


def test_a_family_has_another_version_after_every_new_model(
    store: Store, ledger: JobLedger, graph: LayerGraph, chosen_plan: Plan, model_ids: list[str], clock: Clock
) -> None:
    before = clock.advance(1)
    with store.snapshot() as work:
        assert work.families.versions([family(graph)])[family(graph)] == len(model_ids)
        assert work.families.changed_since(before) == {}
    ledger.settle_target(claim(store, create(store, graph, seed=1)), a_report(graph, chosen_plan))
    with store.snapshot() as work:
        assert work.families.changed_since(before) == {family(graph): len(model_ids) + 1}
        assert set(work.families.versions([family(graph, "other")]).values()) == {0}


@pytest.mark.parametrize(("project", "known"), [("other", True), (PROJECT, False)])
def test_a_model_of_nobody_or_another_project_is_not_found(
    store: Store, model_ids: list[str], project: str, known: bool
) -> None:
    with store.snapshot() as work, pytest.raises(NotFound) as caught:
        work.models.get(project, model_ids[0] if known else "nobody")
    assert caught.value.reason == "MODEL_NOT_FOUND"
