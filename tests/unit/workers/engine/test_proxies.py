"""Scores of untrained networks, held against closed forms."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest

from secateur.core.graph import LayerGraph, zoo
from secateur.core.graph.assembly import Builder
from secateur.workers.engine.build import build_model
from secateur.workers.engine.datasets import Split
from secateur.workers.engine.proxies import BATCH_SIZE, BATCHES, naswot, proxy_scores, synflow, zico
from tests.support.networks import gated_mobilenet


def chain(widths: Sequence[int], activation: str = "linear") -> keras.Model:
    net = Builder("chain", (3,))
    for number, units in enumerate(widths):
        net.add("Dense", f"dense{number}", units=units, use_bias=False, activation=activation)
    net.add("Dense", "logits", units=3, use_bias=False)
    return model_of(net.build())


def convolutions(width: int, layers: int = 2) -> LayerGraph:
    net = Builder("convolutions", (8, 8, 1))
    for number in range(1, layers + 1):
        net.add("Conv2D", f"conv{number}", filters=width, kernel_size=3, padding="same", use_bias=False)
        net.add("BatchNormalization", f"bn{number}")
        net.add("ReLU", f"relu{number}")
        net.add("Dropout", f"dropout{number}", rate=0.5)
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10, activation="softmax")
    return net.build()


def model_of(graph: LayerGraph, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_model(graph)


def drawn(shape: tuple[int, ...], count: int = BATCHES * BATCH_SIZE) -> Split:
    draw = np.random.default_rng(0)
    return Split(draw.integers(0, 256, (count, *shape), np.uint8), draw.integers(0, 3, count))


def test_the_flow_of_a_chain_is_its_product_once_per_layer() -> None:
    """Flow is conserved: every layer carries all of it, so a layer's share of the sum is R itself."""
    model = chain((5, 4), activation="relu")
    product = np.ones((1, 3)) @ np.linalg.multi_dot([np.abs(weight).astype(np.float64) for weight in model.get_weights()])
    assert synflow(model) == pytest.approx(math.log10(3 * product.sum()), abs=1e-6)


def test_normalisation_dropout_and_the_head_do_not_disturb_the_flow() -> None:
    model = model_of(convolutions(4))
    first, second, dense = (np.abs(w).astype(np.float64) for w in model.get_weights() if w.ndim > 1)
    bare = Builder("bare", (8, 8, 1))
    for number in (1, 2):
        bare.add("Conv2D", f"conv{number}", filters=4, kernel_size=3, padding="same", use_bias=False)
    bare.add("GlobalAveragePooling2D", "pool")
    bare.add("Dense", "logits", units=10)
    plain = model_of(bare.build())
    plain.set_weights([first, second, dense, np.zeros(10)])
    expected = math.log10(3 * float(np.sum(plain(np.ones((1, 8, 8, 1))))))
    assert synflow(model) == pytest.approx(expected, abs=1e-5)


def test_the_flow_through_branches_is_the_derivative_by_each_kernel() -> None:
    """Sum, product and concatenation of branches of very different size, against derivatives by hand."""
    net = Builder("branches", (2,))
    net.add("Dense", "large", units=2, use_bias=False)
    net.add("Dense", "small", "input", units=2, use_bias=False)
    net.add("Add", "sum", "large", "small")
    net.add("Multiply", "product", "sum", "small")
    net.add("Concatenate", "both", "product", "large")
    net.add("Dense", "logits", units=1, use_bias=False)
    model = model_of(net.build())
    large, small, head = 1e6, 1e-6, 2.0
    for name, value in {"large": large, "small": small, "logits": head}.items():
        layer = model.get_layer(name)
        layer.set_weights([np.full(layer.kernel.shape, -value)])
    a, b = 2 * large, 2 * small  # R = 2 head ((a + b) b + a)
    by_large, by_small = a * (b + 1), b * (a + 2 * b)
    expected = 2 * head * (by_large + by_small + (a + b) * b + a)
    assert synflow(model) == pytest.approx(math.log10(expected), abs=1e-6)


def test_the_flow_of_a_deep_network_exceeds_single_precision() -> None:
    assert 38 < synflow(model_of(zoo.build("resnet56", (8, 8, 1), 10))) < 100


def test_the_steadiness_of_a_linear_network_is_that_of_its_gradients() -> None:
    model, data = chain(()), drawn((3,), 12)
    kernel = model.get_weights()[0]
    gradients = []
    for batch in np.array_split(np.arange(12), 3):
        images, labels = data.images[batch], data.labels[batch]
        odds = np.exp(images @ kernel)
        gradients.append(np.abs(images.T @ (odds / odds.sum(axis=1, keepdims=True) - np.eye(3)[labels]) / len(batch)))
    expected = math.log(np.sum(np.mean(gradients, axis=0) / np.std(gradients, axis=0)))
    assert zico(model, data.images, data.labels, batches=3) == pytest.approx(expected, rel=1e-4)


def test_gradients_that_never_change_say_nothing() -> None:
    model, data = chain(()), drawn((3,), 4)
    images, labels = np.tile(data.images, (2, 1)), np.tile(data.labels, 2)
    assert zico(model, images, labels) == 0


def test_codes_are_compared_as_the_paper_does() -> None:
    model, images = chain((6, 5), activation="relu"), drawn((3,), 4).images - 0.5
    first, second, _ = model.get_weights()
    hidden = np.maximum(images @ first, 0)
    codes = np.concatenate([hidden > 0, hidden @ second > 0], axis=1)
    kernel = np.array([[codes.shape[1] - np.sum(one != other) for other in codes] for one in codes])
    assert naswot(model, images) == pytest.approx(max(0.0, np.linalg.slogdet(kernel)[1]), rel=1e-5)
    assert naswot(model, np.concatenate([images, images[:1]])) == 0  # two images that no network tells apart
    assert naswot(chain((6,)), images) == 0  # nothing is ever inactive


@pytest.mark.parametrize("build", [lambda: convolutions(8), gated_mobilenet], ids=["convolutions", "gated_mobilenet"])
def test_scores_are_reproducible_and_leave_the_network_as_it_is(build: type) -> None:
    graph: LayerGraph = build()
    model, data = model_of(graph), drawn(graph.input_shape)
    before = model.get_weights()
    scores = proxy_scores(model, data, probabilities="softmax" in str(graph.to_dict()))
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert all(math.isfinite(score) and score != 0 for score in scores.values())
    keras.utils.set_random_seed(1)
    again = model_of(graph)
    assert proxy_scores(again, data, probabilities="softmax" in str(graph.to_dict())) == pytest.approx(scores, rel=1e-4)


def test_a_wider_network_scores_higher() -> None:
    data = drawn((8, 8, 1))
    narrow, wide = (proxy_scores(model_of(convolutions(width)), data, probabilities=True) for width in (4, 16))
    assert all(wide[proxy] > narrow[proxy] for proxy in ("synflow", "zico", "naswot"))


def fixed() -> tuple[keras.Model, Split]:
    """A network and data that do not depend on how a backend draws random numbers. JAX takes seconds for every layer."""
    graph, draw = convolutions(8, layers=1), np.random.default_rng(0)
    model = build_model(graph)
    model.get_layer("dropout1").rate = 0.0
    model.set_weights([draw.normal(0, 0.3, weight.shape) if weight.ndim > 1 else weight for weight in model.get_weights()])
    return model, drawn((8, 8, 1))


def test_jax_gives_the_same_scores() -> None:
    code = f"from {__name__} import *; print(*proxy_scores(*fixed(), probabilities=True).values(), keras.backend.backend())"
    root = str(Path(__file__).parents[4])
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # it compiles more than it runs
    environment["PYTHONPATH"] = os.pathsep.join([root, *sys.path])
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    *theirs, backend = done.stdout.split()
    assert backend == "jax"
    model, data = fixed()
    scores = proxy_scores(model, data, probabilities=True)
    assert float(theirs[0]) == pytest.approx(scores["synflow"], rel=1e-6)
    assert [float(score) for score in theirs[1:]] == pytest.approx([scores["zico"], scores["naswot"]], rel=0.02)
