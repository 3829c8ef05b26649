"""Inherited weights: the pruned network is the unpruned one with the cut channels held at zero."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, channel_groups, with_widths
from secateur.core.graph.assembly import Builder
from secateur.core.graph.blocks import drop_blocks, residual_blocks
from secateur.workers.engine.build import build_model
from secateur.workers.engine.inherit import inherit
from tests.support.graphs import layer_graphs
from tests.support.masking import masked_outputs
from tests.support.networks import NETWORKS, trained_looking


def images(graph: LayerGraph, count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, *graph.input_shape)).astype(np.float32)


def drawn(graph: LayerGraph, seed: int) -> dict[str, tuple[int, ...]]:
    """Half of the channels of every group that may be cut, streams of residual networks included."""
    draw = np.random.default_rng(seed)
    return {
        group.name: tuple(sorted(draw.choice(group.width, max(1, group.width // 2), replace=False).tolist()))
        for group in channel_groups(graph, residual="coupled")
        if group.prunable
    }


def assert_equal(pruned: keras.Model, model: keras.Model, graph: LayerGraph, kept: dict[str, tuple[int, ...]]) -> None:
    batch = images(graph)
    expected = masked_outputs(model, graph, kept, batch)
    np.testing.assert_allclose(pruned(batch), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["gated_mobilenet", "densenet"])  # full ones: test_inherit_criteria
def test_equals_the_masked_network(name: str) -> None:
    graph = NETWORKS[name]()
    model, kept = trained_looking(graph), drawn(graph, seed=2)
    outputs = masked_outputs(model, graph, kept, images(graph))
    assert np.ptp(outputs, axis=0).max() > 0.01 * np.abs(outputs).max()  # else equality would say nothing
    pruned = inherit(model, graph, kept)
    assert pruned.count_params() < 0.6 * model.count_params()
    assert_equal(pruned, model, graph, kept)


def test_keeping_everything_changes_nothing() -> None:
    graph = NETWORKS["densenet"]()
    model = trained_looking(graph)
    batch = images(graph)
    np.testing.assert_array_equal(inherit(model, graph, {})(batch), model(batch))


# Not shrunk: a model is built for every example.
@settings(max_examples=10, phases=[Phase.explicit, Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(layer_graphs(max_blocks=3), st.integers(0, 2**16))
def test_equals_the_masked_network_whatever_it_is(graph: LayerGraph, seed: int) -> None:
    assume(all(layer.op != "LayerNormalization" for layer in graph))  # its statistics see fewer channels
    model, kept = trained_looking(graph, seed), drawn(graph, seed)
    assert_equal(inherit(model, graph, kept), model, graph, kept)


def test_layers_of_dropped_blocks_are_left_behind() -> None:
    graph = NETWORKS["resnet56"]()
    model = trained_looking(graph)
    names = [block.name for block in residual_blocks(graph)[::2]]
    shallow = drop_blocks(graph, names)
    kept = drawn(shallow, seed=3)
    pruned = inherit(model, shallow, kept)
    assert len(pruned.layers) == len(shallow) < len(graph)
    assert_equal(pruned, model, shallow, kept)


def test_a_transposed_convolution_shared_slopes_and_a_count_of_images() -> None:
    net = Builder("decoder", (4, 4, 2))
    net.add("Conv2D", "down", filters=6, kernel_size=3)
    net.add("Normalization", "adapted")
    net.add("PReLU", "slopes", shared_axes=[1, 2])
    net.add("Conv2DTranspose", "up", filters=5, kernel_size=2, strides=2)
    net.add("PReLU", "slope", shared_axes=[1, 2, 3])
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=3)
    graph = net.build()
    model, kept = trained_looking(graph), {"down": (1, 4), "up": (0, 2, 3)}
    batch = images(graph)
    narrow = model.get_layer("slopes")(model.get_layer("adapted")(model.get_layer("down")(batch))) * np.isin(
        np.arange(6), kept["down"]
    )
    wide = model.get_layer("slope")(model.get_layer("up")(narrow)) * np.isin(np.arange(5), kept["up"])
    expected = model.get_layer("logits")(model.get_layer("flat")(wide))
    np.testing.assert_allclose(inherit(model, graph, kept)(batch), expected, rtol=1e-5, atol=1e-5)


def test_a_layer_that_is_called_twice_inherits_once() -> None:
    net = Builder("twice", (4, 4, 2))
    net.add("Conv2D", "free", filters=6, kernel_size=1)
    net.add("Conv2D", "first", filters=3, kernel_size=1)
    net.add("ReLU", "relu")
    net.add("Conv2D", "before", filters=6, kernel_size=1)
    net.add("Conv2D", "again", shares="first", filters=3, kernel_size=1)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=2)
    graph = net.build()
    model = trained_looking(graph)
    kept = drawn(graph, seed=1)
    assert_equal(inherit(model, graph, kept), model, graph, kept)


def test_refuses_a_model_of_another_network() -> None:
    graph = NETWORKS["densenet"]()
    with pytest.raises(InvalidArgument, match="stem") as missing:
        inherit(build_model(NETWORKS["vgg16"]()), graph, {})
    with pytest.raises(InvalidArgument, match="has 3 channels where") as narrow:
        inherit(build_model(with_widths(graph, {"block1_conv1_1": 3})), graph, {})
    nets = [Builder("net", (4, 4, 1)) for _ in range(2)]
    for net, size in zip(nets, (3, 1), strict=True):
        net.add("Conv2D", "conv", filters=2, kernel_size=size)
        net.add("Flatten", "flat")
        net.add("Dense", "logits", units=2)
    with pytest.raises(
        InvalidArgument, match=r"weights of shapes \[\(1, 1, 1, 2\), \(2,\)\] instead of \[\(3, 3, 1, 2\)"
    ) as other:
        inherit(build_model(nets[1].build()), nets[0].build(), {})
    assert missing.value.reason == narrow.value.reason == other.value.reason == "MODEL_MISMATCH"
