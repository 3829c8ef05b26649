"""Every supported layer against the one in Keras: output shape, weights, and the way through JSON."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest

from secateur.core.cost import CostModel, cost_of
from secateur.core.errors import InvalidArgument
from secateur.core.graph import channel_groups, read_keras_json, with_widths
from secateur.core.graph.arguments import ACTIVATIONS
from secateur.core.graph.assembly import Builder
from secateur.core.graph.indices import kept_positions
from secateur.core.graph.table import OPERATIONS
from secateur.workers.engine.build import build_model

IMAGE, STEPS, VECTOR = (9, 7, 8), (11, 8), (8,)
CASES: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("Conv1D", STEPS, {"filters": 4, "kernel_size": 3, "padding": "causal", "strides": 2, "groups": 2}),
    ("Conv1D", STEPS, {"filters": 4, "kernel_size": 3, "dilation_rate": 2}),
    ("Conv1DTranspose", STEPS, {"filters": 4, "kernel_size": 3, "strides": 2}),
    ("DepthwiseConv1D", STEPS, {"kernel_size": 3, "depth_multiplier": 2, "padding": "same"}),
    ("SeparableConv1D", STEPS, {"filters": 4, "kernel_size": 3, "strides": 2}),
    ("Conv2D", IMAGE, {"filters": 4, "kernel_size": (3, 2), "strides": (2, 1), "activation": "mish"}),
    ("Conv2DTranspose", IMAGE, {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"}),
    ("Conv2DTranspose", IMAGE, {"filters": 4, "kernel_size": (2, 5), "strides": (3, 2)}),
    ("Conv2DTranspose", IMAGE, {"filters": 4, "kernel_size": 4, "strides": 2, "padding": "same", "output_padding": 1}),
    ("Conv2DTranspose", IMAGE, {"filters": 4, "kernel_size": 3, "strides": 2, "output_padding": (1, 0)}),
    ("Dense", IMAGE, {"units": 4}),
    ("BatchNormalization", VECTOR, {"scale": False}),
    ("LayerNormalization", IMAGE, {}),
    ("LayerNormalization", IMAGE, {"axis": [1, 2, 3], "center": False}),
    ("LayerNormalization", VECTOR, {"axis": 1}),
    ("GroupNormalization", IMAGE, {"groups": 4}),
    ("GroupNormalization", IMAGE, {"groups": -1, "scale": False}),
    ("RMSNormalization", IMAGE, {}),
    ("UnitNormalization", IMAGE, {}),
    ("Normalization", IMAGE, {}),
    ("Normalization", IMAGE, {"axis": None}),
    ("Normalization", IMAGE, {"axis": None, "mean": 0.4, "variance": 2.0}),
    ("Normalization", IMAGE, {"mean": [0.5] * 8, "variance": [0.2] * 8, "invert": True}),
    ("Rescaling", IMAGE, {"scale": [0.5] * 8, "offset": 1}),
    ("PReLU", IMAGE, {}),
    ("PReLU", IMAGE, {"shared_axes": [1, 2]}),
    ("PReLU", IMAGE, {"shared_axes": [3]}),
    ("PReLU", VECTOR, {"shared_axes": [1]}),
    ("AveragePooling1D", STEPS, {"pool_size": 3, "padding": "same"}),
    ("MaxPooling1D", STEPS, {"pool_size": 2, "strides": 3}),
    ("GlobalAveragePooling1D", STEPS, {"keepdims": True}),
    ("GlobalMaxPooling1D", STEPS, {}),
    ("AdaptiveAveragePooling1D", STEPS, {"output_size": 4}),
    ("AdaptiveMaxPooling1D", STEPS, {"output_size": 4}),
    ("AdaptiveAveragePooling2D", IMAGE, {"output_size": (3, 2)}),
    ("AdaptiveMaxPooling2D", IMAGE, {"output_size": 2}),
    ("ZeroPadding1D", STEPS, {"padding": (1, 2)}),
    ("Cropping1D", STEPS, {"cropping": (1, 2)}),
    ("Cropping2D", IMAGE, {"cropping": ((1, 2), (0, 1))}),
    ("UpSampling1D", STEPS, {"size": 3}),
    ("UpSampling2D", IMAGE, {"size": (1, 2), "interpolation": "bilinear"}),
    ("Permute", IMAGE, {"dims": (2, 1, 3)}),
    ("Permute", IMAGE, {"dims": (3, 1, 2)}),
    ("Reshape", STEPS, {"target_shape": (4, -1)}),
    ("Identity", IMAGE, {}),
    ("ActivityRegularization", IMAGE, {"l2": 0.1}),
    ("GaussianNoise", IMAGE, {"stddev": 0.1}),
    ("GaussianDropout", IMAGE, {"rate": 0.1}),
    ("AlphaDropout", IMAGE, {"rate": 0.1}),
    ("SpatialDropout1D", STEPS, {"rate": 0.1}),
]  # fmt: skip
ELSEWHERE = {
    "InputLayer", "DepthwiseConv2D", "SeparableConv2D", "Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "Add", "Subtract",
    "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "AveragePooling2D", "MaxPooling2D", "GlobalAveragePooling2D",
    "GlobalMaxPooling2D", "Flatten", "Dropout", "SpatialDropout2D", "ZeroPadding2D",
}  # fmt: skip
"""Layers that the networks of the other test modules are made of."""


def test_no_layer_is_left_out() -> None:
    assert {op for op, _, _ in CASES} | ELSEWHERE == set(OPERATIONS)


@pytest.mark.parametrize(("op", "shape", "config"), CASES, ids=lambda value: value if isinstance(value, str) else None)
def test_layer(op: str, shape: tuple[int, ...], config: dict[str, Any]) -> None:
    given = keras.Input(shape, name="given")
    model = keras.Model(given, getattr(keras.layers, op)(**config, name="layer")(given))
    graph = read_keras_json(model.to_json())
    assert graph["layer"].output_shape == model.output_shape[1:]
    assert cost_of(graph).parameters == model.count_params()
    rebuilt = build_model(graph)
    assert read_keras_json(rebuilt.to_json()).digest == graph.digest
    values = np.random.default_rng(0).uniform(0.1, 1, (2, *shape)).astype(np.float32)
    rebuilt.set_weights(model.get_weights())
    np.testing.assert_allclose(np.asarray(rebuilt(values)), np.asarray(model(values)), rtol=1e-5)


def test_what_keras_cannot_build_is_refused() -> None:
    model = keras.Sequential([keras.Input(STEPS), keras.layers.SeparableConv1D(4, 3, padding="same")])
    with pytest.raises(InvalidArgument, match="padding must be one of valid, same"):
        read_keras_json(model.to_json().replace('"same"', '"causal"'))


def test_every_activation_is_one_of_keras() -> None:
    for name in ACTIVATIONS:
        assert keras.activations.get(name).__name__ == name


def test_the_scaled_sum_of_inception_resnet() -> None:
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    given = keras.Input((4, 4, 3), name="given")
    branch = keras.layers.Conv2D(3, 1, name="branch")(given)
    model = keras.Model(given, CustomScaleLayer(0.17, name="sum")([given, branch]))
    rebuilt = build_model(read_keras_json(model.to_json()))
    rebuilt.set_weights(model.get_weights())
    values = np.random.default_rng(0).uniform(size=(1, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(rebuilt(values)), np.asarray(model(values)), rtol=1e-5)


@pytest.mark.parametrize(
    ("op", "config", "text"),
    [
        ("GroupNormalization", {"groups": 3}, "must divide"),
        ("GroupNormalization", {"groups": 0}, "must divide"),
        ("Rescaling", {"scale": [1.0, 2.0]}, "one scale per channel"),
        ("Normalization", {"mean": [0.0] * 8, "variance": 1.0}, "same size"),
        ("Normalization", {"axis": 1}, "along the channels"),
        ("LayerNormalization", {"axis": [1, 2]}, "along the channels"),
        ("Cropping2D", {"cropping": 4}, "cuts"),
        ("Conv2DTranspose", {"filters": 2, "kernel_size": 2, "strides": 1, "output_padding": 1}, "below its strides"),
        ("PReLU", {"shared_axes": [4]}, "shared axes"),
        ("Permute", {"dims": [1, 1, 2]}, "every axis once"),
        ("Permute", {"dims": [2, 1]}, "cannot bring"),
        ("Concatenate", {"axis": 0}, "along the channels"),
        ("Conv1D", {"filters": 2, "kernel_size": 2}, "steps and channels"),
    ],
)
def test_refuses(op: str, config: dict[str, Any], text: str) -> None:
    net = Builder("net", (8, 8, 8))
    net.add(op, "layer", *(["input"] * OPERATIONS[op].inputs[0]), **config)
    with pytest.raises(InvalidArgument, match=text) as caught:
        net.build()
    assert caught.value.field == "layer"


@pytest.mark.parametrize(
    ("op", "config", "text"),
    [
        ("GroupNormalization", {"groups": 4}, "must stay equal"),
        ("Rescaling", {"scale": [0.5] * 8}, "one value per channel"),
        ("Permute", {"dims": (3, 1, 2)}, "mixes channels"),
        ("GroupNormalization", {"groups": -1}, ""),
        ("LayerNormalization", {}, ""),
        ("PReLU", {}, ""),
        ("Permute", {"dims": (2, 1, 3)}, ""),
        ("Cropping2D", {"cropping": 1}, ""),
    ],
)
def test_what_a_layer_does_to_the_channels_it_takes(op: str, config: dict[str, Any], text: str) -> None:
    net = Builder("net", (8, 8, 3))
    net.add("Conv2D", "conv", filters=8, kernel_size=1)
    net.add(op, "layer", **config)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=2)
    graph = net.build()
    group = channel_groups(graph)[0]
    assert group.prunable == (not text)
    assert text in group.reason
    if group.prunable:
        narrow = with_widths(graph, {"conv": 3})
        model = CostModel(graph, [group])
        model.set_width("conv", 3)
        assert model.cost() == cost_of(narrow)
        kept = kept_positions(graph, {"conv": (0, 2, 5)})
        assert {name: len(kept[name]) for name in kept} == {layer.name: layer.output_shape[-1] for layer in narrow}


def test_concatenation_of_positions_couples_channels() -> None:
    net = Builder("net", (8, 8, 3))
    net.add("Conv2D", "one", filters=8, kernel_size=1)
    net.add("Conv2D", "other", "input", filters=8, kernel_size=1)
    net.add("Concatenate", "rows", "one", "other", axis=1)
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=2)
    graph = net.build()
    assert graph["rows"].output_shape == (16, 8, 8)
    group = channel_groups(graph)[0]
    assert group.producers == ("one", "other")
    assert group.prunable
