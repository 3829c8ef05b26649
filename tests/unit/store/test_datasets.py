"""Data sets that projects upload: written once, and found by id and by content."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secateur.core.datasets import DATASETS, Dataset, DatasetName, content
from secateur.core.errors import AlreadyExists, NotFound
from secateur.core.graph import LayerGraph
from secateur.core.planning import Plan
from secateur.core.reports import ARENA_BYTES
from secateur.core.specs import Augmentation
from secateur.store import Store
from secateur.store.creation import NewJob
from secateur.store.families import Family
from secateur.store.ledger import JobLedger
from secateur.store.records import DatasetRecord
from tests.support.store import PROJECT, a_report, a_spec, claim

MINE = Dataset("my-set", "My set", (8, 8, 1), 2, 80, 20, Augmentation(flip=True, crop=2), ("cat", "dog"))
DIGEST = "a" * 64


def put(store: Store, dataset: Dataset = MINE, *, project: str = PROJECT, digest: str = DIGEST) -> DatasetRecord:
    with store.unit_of_work() as work:
        record = work.datasets.put(project, dataset, digest=digest, size_bytes=1_000)
        work.commit()
    return record


def test_a_data_set_comes_back_whole(store: Store) -> None:
    record = put(store)
    assert (record.dataset, record.digest, record.size_bytes) == (MINE, DIGEST, 1_000)
    with store.snapshot() as work:
        assert work.datasets.get(PROJECT, "my-set") == record
        assert work.datasets.of_content(PROJECT, DIGEST) == record
        assert work.datasets.of_content("other", DIGEST) is None


def test_the_same_again_is_the_first_and_anything_else_is_refused(store: Store) -> None:
    first = put(store)
    assert put(store) == first
    for dataset, digest in ((MINE, "b" * 64), (replace(MINE, title="Other"), DIGEST)):
        with pytest.raises(AlreadyExists, match="my-set") as caught:
            put(store, dataset, digest=digest)
        assert caught.value.reason == "DATASET_EXISTS"
    put(store, replace(MINE, title="Other"), project="other")
    with store.snapshot() as work:
        work.datasets.check_free(PROJECT, "my-set", DIGEST)
        work.datasets.check_free(PROJECT, "free", "b" * 64)
        with pytest.raises(AlreadyExists):
            work.datasets.check_free(PROJECT, "my-set", "b" * 64)


def test_what_is_not_there_is_not_found(store: Store) -> None:
    put(store, project="other")
    with store.snapshot() as work, pytest.raises(NotFound) as caught:
        work.datasets.get(PROJECT, "my-set")
    assert caught.value.reason == "DATASET_NOT_FOUND"


def test_lists_go_on_behind_an_id(store: Store) -> None:
    for name in ("c", "a", "b"):
        put(store, replace(MINE, name=name))
    put(store, replace(MINE, name="d"), project="other")
    with store.snapshot() as work:
        assert [record.dataset.name for record in work.datasets.list(PROJECT, after="", limit=2)] == ["a", "b"]
        assert [record.dataset.name for record in work.datasets.list(PROJECT, after="b", limit=2)] == ["c"]


def test_a_model_knows_the_data_set_that_it_was_trained_on(
    store: Store, ledger: JobLedger, graph: LayerGraph, chosen_plan: Plan
) -> None:
    registered = a_spec(graph)
    with store.unit_of_work() as work:
        work.datasets.put(PROJECT, replace(DATASETS["digits"], name="my-set"), digest=DIGEST, size_bytes=1)
        work.commit()
    for spec in (registered, replace(registered, dataset=content(DIGEST), dataset_id="my-set")):
        with store.unit_of_work() as work:
            job = work.jobs.create(NewJob(PROJECT, spec, work_key=spec.work_key("test")))
            work.commit()
        ledger.settle_target(claim(store, job), a_report(graph, chosen_plan))

    own = DatasetName("my-set", PROJECT)
    with store.snapshot() as work:
        by_name = {model.dataset: model.id for model in work.models.list(PROJECT).items}
        families = [Family.of(PROJECT, graph.digest, name) for name in (own, DatasetName("digits"), DatasetName("my-set"))]
        offers = [work.families.offers(family, ram_measurement=ARENA_BYTES) for family in families]
    assert [[offer.id for offer in each] for each in offers] == [[by_name[own]], [by_name[DatasetName("digits")]], []]
