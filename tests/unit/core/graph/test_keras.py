"""The layer graph against the real Keras: shapes, arguments, order."""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import pytest
from hypothesis import HealthCheck, given, settings

from secateur.core.cost import cost_of, layer_costs
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, read_keras_json, zoo
from secateur.workers.engine.build import build_model
from tests.support.graphs import layer_graphs


def shapes_in_keras(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Output shapes by layer. A Sequential model does not list its input."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    return {layer.name: tuple(layer.output.shape[1:]) for layer in layers}


def shapes_in_graph(graph: LayerGraph) -> dict[str, tuple[int, ...]]:
    return {layer.name: layer.output_shape for layer in graph if layer.op != "InputLayer" and not layer.shares}


def residual_model() -> keras.Model:
    """Every layer with shape rules of its own, odd sizes throughout."""
    layers = keras.layers
    pixels = keras.Input((15, 11, 3))
    stream = layers.Rescaling(1 / 255)(pixels)
    stream = layers.Conv2D(8, 3, strides=2, padding="same", activation="swish", name="stem")(stream)
    branch = layers.DepthwiseConv2D((3, 5), padding="same", depth_multiplier=2)(stream)
    branch = layers.BatchNormalization(axis=3)(branch)
    branch = layers.SeparableConv2D(8, 3, padding="same", pointwise_regularizer=keras.regularizers.L2(1e-4))(branch)
    stream = layers.ReLU(max_value=6)(layers.Add()([stream, branch]))
    other = layers.Conv2D(4, (2, 3), dilation_rate=(2, 1), groups=2)(stream)
    other = layers.ZeroPadding2D((1, (1, 1)))(other)
    stream = layers.Concatenate(axis=3)([stream, other])
    gate = layers.GlobalMaxPooling2D(keepdims=True)(stream)
    gate = layers.Reshape((1, 1, -1))(layers.Dense(12, activation="hard_sigmoid")(gate))
    stream = layers.Multiply()([stream, gate])
    stream = layers.MaxPooling2D(3, strides=2)(stream)
    stream = layers.UpSampling2D((2, 3))(stream)
    stream = layers.AveragePooling2D((2, 3), padding="same")(stream)
    stream = layers.Activation("elu")(layers.LeakyReLU(0.1)(layers.ELU()(stream)))
    stream = layers.Flatten()(layers.SpatialDropout2D(0.1)(stream))
    stream = layers.Dropout(0.3)(stream)
    return keras.Model(pixels, layers.Softmax()(layers.Dense(5)(stream)))


def plain_model() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((9, 9, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation=keras.activations.relu),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("make", [residual_model, plain_model])
def test_shapes_are_those_of_keras(make: Callable[[], keras.Model]) -> None:
    model = make()
    graph = read_keras_json(model.to_json())
    assert shapes_in_graph(graph) == shapes_in_keras(model)
    rebuilt = build_model(graph, for_devices=False)
    assert rebuilt.count_params() == model.count_params()
    assert read_keras_json(rebuilt.to_json()).digest == graph.digest


@pytest.mark.parametrize("name", zoo.names())
def test_zoo_survives_a_round_trip_through_keras(name: str) -> None:
    graph = zoo.build(name, (32, 32, 3), 10)
    model = build_model(graph, for_devices=False)
    assert model.output_shape == (None, 10)
    assert [layer.name for layer in model.layers] == [layer.name for layer in graph]
    assert read_keras_json(model.to_json()) == graph
    # Parameters are counted here, too, so that every network is built once.
    assert {layer.name: layer.count_params() for layer in model.layers} == {
        name: cost.parameters for name, cost in layer_costs(graph).items()
    }
    assert model.count_params() == cost_of(graph).parameters


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(layer_graphs(every_kind=True))
def test_random_graphs_survive_a_round_trip_through_keras(graph: LayerGraph) -> None:
    model = build_model(graph, for_devices=False)
    assert shapes_in_keras(model) == shapes_in_graph(graph)
    assert read_keras_json(model.to_json()) == graph


def test_lambda_layers_of_the_real_keras_are_refused() -> None:
    pixels = keras.Input((8, 8, 1))
    model = keras.Model(pixels, keras.layers.Lambda(lambda value: value * 2, name="code")(pixels))
    with pytest.raises(InvalidArgument, match="never run") as caught:
        read_keras_json(model.to_json())
    assert caught.value.field == "code"
