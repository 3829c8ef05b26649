"""Networks made for pixels from 0 to 255, as Keras's examples are, compute the same on ours, which go from 0 to 1."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest

from secateur.core.graph import from_data, read_keras_json
from secateur.workers.engine.build import build_model

layers = keras.layers
Front = Callable[[Any], Any]
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.float32)
MEAN, VARIANCE = [123.7, 116.8, 103.9], [3_400.0, 3_260.0, 3_290.0]


def network(front: Front) -> keras.Model:
    image = keras.Input((4, 4, 3))
    return keras.Model(image, layers.Dense(3, name="logits")(layers.Flatten()(front(image))))


def on_unit_pixels(model: keras.Model) -> Any:
    """What the service makes of a model returns for our images."""
    graph = read_keras_json(model.to_json())
    assert read_keras_json(build_model(graph, for_devices=False).to_json()) == graph == from_data(graph.to_dict())
    ours = build_model(graph)
    ours.get_layer("logits").set_weights(model.get_layer("logits").get_weights())
    return np.asarray(ours(PIXELS / 255))


@pytest.mark.parametrize(
    "front",
    [
        layers.Rescaling(1 / 255),
        layers.Rescaling(1 / 127.5, offset=-1),
        layers.Rescaling(1.0, offset=[-123.7, -116.8, -103.9]),
        layers.Normalization(mean=MEAN, variance=VARIANCE),
        lambda image: image / 127.5 - 1.0,
        lambda image: (image - 128.0) / 128.0,
    ],
)
def test_the_same_network_on_pixels_from_0_to_1(front: Front) -> None:
    model = network(front)
    np.testing.assert_allclose(on_unit_pixels(model), np.asarray(model(PIXELS)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "front",
    [
        layers.Rescaling(2.0, offset=-1.0),
        layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.052, 0.05, 0.051]),
        layers.Normalization(mean=MEAN, variance=VARIANCE, invert=True),
        layers.Normalization(),  # never adapted
        lambda image: layers.Rescaling(1 / 255)(layers.AveragePooling2D(1)(image)),
        lambda image: layers.Add()([image, layers.Rescaling(1 / 255)(image)]),
    ],
)
def test_what_is_made_for_unit_pixels_or_may_be_stays(front: Front) -> None:
    model = network(front)
    np.testing.assert_allclose(on_unit_pixels(model), np.asarray(model(PIXELS / 255)), rtol=1e-4, atol=1e-4)
