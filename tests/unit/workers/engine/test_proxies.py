"""Training-free scores: what must hold of them whatever the network."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from secateur.core.graph import LayerGraph, with_widths, zoo
from secateur.core.graph.assembly import Builder
from secateur.workers.engine.build import build_model
from secateur.workers.engine.proxies import naswot, rank_average, synflow, zico

GRAPH = zoo.build("resnet20", (8, 8, 1), 10)
DRAW = np.random.default_rng(0)
IMAGES = DRAW.normal(size=(16, 8, 8, 1)).astype(np.float32)
LABELS = DRAW.integers(0, 10, 16)


def fresh(graph: LayerGraph) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(graph)


def all_scores(model: keras.Model) -> list[float]:
    return [synflow(model), zico(model, IMAGES, LABELS), naswot(model, IMAGES)]


def head(*softmax: str) -> LayerGraph:
    net = Builder("head", (8, 8, 1))
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=4, activation="softmax" if "argument" in softmax else "linear")
    if "layer" in softmax:
        net.add("Softmax", "softmax")
    return net.build()


def test_wider_networks_score_higher_and_the_same_network_the_same() -> None:
    model = fresh(GRAPH)
    before = model.get_weights()
    narrow = with_widths(GRAPH, {f"stage{stage}_block{block}_conv1": 4 for stage in (1, 2, 3) for block in (1, 2, 3)})
    scores = all_scores(model)
    assert scores == pytest.approx(all_scores(fresh(GRAPH)), rel=1e-4)
    assert all(wide > thin for wide, thin in zip(scores, all_scores(fresh(narrow)), strict=True))
    for weight, after in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, after)


def test_synflow_is_the_sum_of_paths() -> None:
    model = fresh(head())
    assert synflow(model) == pytest.approx(np.log(np.abs(model.get_layer("logits").get_weights()[0]).sum()))


def test_synflow_neither_sees_signs_nor_softmax() -> None:
    plain = fresh(head())
    flipped = fresh(head())
    flipped.set_weights([-weight for weight in plain.get_weights()])
    assert synflow(plain) == synflow(flipped)
    assert synflow(fresh(head("argument"))) == synflow(fresh(head("layer"))) == synflow(plain)


def test_zico_does_not_depend_on_the_scale_of_gradients() -> None:
    model = fresh(head())
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])  # gradients are linear in the images then
    assert zico(model, IMAGES, LABELS % 4) == pytest.approx(zico(model, 2 * IMAGES, LABELS % 4), rel=1e-5)


def test_naswot_cannot_tell_equal_images_apart() -> None:
    model = fresh(GRAPH)
    assert naswot(model, np.repeat(IMAGES[:1], 4, axis=0)) < naswot(model, IMAGES[:4])


def test_rank_average() -> None:
    ranks = rank_average([{"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 10.0, "b": 10.0, "c": -1.0}])
    assert ranks == {"a": 0.75, "b": 1.25, "c": 1.0}
