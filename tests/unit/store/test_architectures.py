"""Architectures: content-addressed and immutable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secateur.core.cost import cost_of
from secateur.core.errors import Conflict, NotFound
from secateur.core.graph import LayerGraph
from secateur.store import Store
from tests.support.store import PROJECT, Clock, a_graph


def test_an_architecture_comes_back_whole(store: Store, graph: LayerGraph, clock: Clock) -> None:
    with store.snapshot() as work:
        kept = work.architectures.get(PROJECT, graph.digest[:16])
        assert work.architectures.graph(PROJECT, graph.digest) == graph
    assert (kept.graph, kept.digest, kept.cost) == (graph, graph.digest, cost_of(graph))
    assert (kept.id, kept.display_name, kept.create_time) == (graph.digest[:16], "ResNet-20", clock.now)


def test_the_same_graph_is_the_same_architecture(store: Store, graph: LayerGraph, clock: Clock) -> None:
    created = clock.now
    clock.advance(60)
    with store.unit_of_work() as work:
        again = work.architectures.put(PROJECT, replace(graph, name="renamed"), cost_of(graph), display_name="Another name")
        work.commit()
    assert (again.display_name, again.create_time) == ("ResNet-20", created)
    with store.snapshot() as work:
        assert work.architectures.list(PROJECT).items == (again,)


def test_another_graph_with_the_same_id_is_refused(store: Store, graph: LayerGraph) -> None:
    other = a_graph(classes=3)
    other.__dict__["digest"] = graph.digest[:16] + "0" * 48  # nobody can find such a graph; pretend that somebody has
    with store.unit_of_work() as work, pytest.raises(Conflict) as caught:
        work.architectures.put(PROJECT, other, cost_of(other))
    assert caught.value.reason == "ARCHITECTURE_ID_TAKEN"


def test_an_architecture_of_another_project_is_not_found(store: Store, graph: LayerGraph) -> None:
    with store.snapshot() as work, pytest.raises(NotFound) as caught:
        work.architectures.get("other", graph.digest[:16])
    assert caught.value.reason == "ARCHITECTURE_NOT_FOUND"


def test_the_same_network_goes_by_another_name_in_another_project(store: Store, graph: LayerGraph) -> None:
    renamed = replace(graph, name="renamed")
    with store.unit_of_work() as work:
        ours = work.architectures.put("ours", graph, cost_of(graph))
        theirs = work.architectures.put("theirs", renamed, cost_of(graph))
        work.commit()
    assert ours.id == theirs.id
    with store.snapshot() as work:
        names = [work.architectures.get(project, ours.id).graph.name for project in ("ours", "theirs")]
    assert names == [graph.name, "renamed"]
