"""Networks that are more than a chain of layers: nested models, shared layers, several ends, other layouts, arithmetic."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest

from secateur.core.cost import cost_of, layer_costs
from secateur.core.errors import InvalidArgument
from secateur.core.graph import channel_groups, from_data, read_keras_json, with_widths
from secateur.workers.engine.build import build_model

layers = keras.layers


def backbone() -> keras.Model:
    pixels = keras.Input((8, 8, 3), name="pixels")
    stream = layers.Conv2D(6, 3, padding="same", name="conv")(pixels)
    stream = layers.BatchNormalization(name="bn")(stream)
    return keras.Model(pixels, [stream, layers.MaxPooling2D(name="pool")(stream)], name="backbone")


def nested() -> keras.Model:
    pixels = keras.Input((8, 8, 3), name="image")
    fine, coarse = backbone()(pixels)
    head = keras.Sequential([layers.GlobalAveragePooling2D(name="pool"), layers.Dense(5, name="dense")], name="head")
    coarse = layers.UpSampling2D(name="up")(coarse)
    return keras.Model(pixels, head(layers.Add(name="add")([fine, coarse])), name="nested")


def siamese() -> keras.Model:
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    inner = keras.Input((8, 8, 3))
    twin = keras.Model(
        inner, layers.Dense(4, name="code")(layers.Flatten(name="flat")(layers.Conv2D(5, 3, name="conv")(inner))), name="twin"
    )
    distance = layers.Subtract(name="distance")([twin(left), twin(right)])
    return keras.Model([left, right], layers.Dense(2, name="logits")(distance), name="siamese")


def recurrent() -> keras.Model:
    """A convolution that takes its own output twice, with a normalisation and slopes that are shared as well."""
    pixels = keras.Input((8, 8, 3), name="pixels")
    again, norm, slope = layers.Conv2D(6, 3, padding="same", name="again"), layers.BatchNormalization(name="bn"), layers.PReLU()
    stream = layers.Conv2D(6, 1, name="stem")(pixels)
    for _ in range(3):
        stream = slope(norm(again(stream)))
    return keras.Model(pixels, layers.Dense(2, name="logits")(layers.GlobalMaxPooling2D(name="pool")(stream)))


def several_ends() -> keras.Model:
    image, meta = keras.Input((8, 8, 1), name="image"), keras.Input((4,), name="meta")
    stream = layers.Conv2D(4, 3, name="conv")(image)
    both = layers.Concatenate(name="both")([layers.Flatten(name="flat")(stream), layers.Dense(3, name="embed")(meta)])
    early = layers.Dense(7, name="early")(layers.GlobalAveragePooling2D(name="pool")(stream))
    return keras.Model([meta, image], [layers.Dense(2, name="late")(both), early], name="several")


def arithmetic() -> keras.Model:
    pixels = keras.Input((8, 8, 3), name="pixels")
    stream = layers.Conv2D(4, 3, name="conv")(2.0 - pixels / 4.0)
    gate = layers.ReLU(6.0, name="clip")(stream + 3.0) * (1.0 / 6.0)
    stream = stream * gate - stream
    stream = layers.Conv2D(4, 1, activation=layers.LeakyReLU(0.2), name="leaky")(stream)
    stream = layers.Activation(layers.ELU(0.5), name="elu")(stream)
    return keras.Model(pixels, layers.Dense(2, activation="hard_swish", name="logits")(layers.Flatten(name="flat")(stream)))


MODELS: list[Callable[[], keras.Model]] = [nested, siamese, recurrent, several_ends, arithmetic]


def weighted(model: keras.Model) -> keras.Model:
    """Gives all weights of a model values that follow from their shapes, so that equal networks give equal outputs."""
    draw = np.random.default_rng(7)
    model.set_weights([draw.uniform(0.2, 0.5, weight.shape).astype(np.float32) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("make", MODELS)
def test_is_the_same_network(make: Callable[[], keras.Model]) -> None:
    model = make()
    graph = read_keras_json(model.to_json())
    assert cost_of(graph).parameters == model.count_params()
    assert from_data(json.loads(json.dumps(graph.to_dict()))) == graph
    rebuilt = build_model(graph)
    assert rebuilt.count_params() == model.count_params()
    shapes = [weight.shape for weight in model.get_weights()]
    if [weight.shape for weight in rebuilt.get_weights()] == shapes:  # Keras lists them in the order of the layers
        draw = np.random.default_rng(3)
        given = [draw.uniform(size=(2, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
        for ours, theirs in zip(
            keras.tree.flatten(weighted(rebuilt)(given if len(given) > 1 else given[0])),
            keras.tree.flatten(weighted(model)(given if len(given) > 1 else given[0])),
            strict=True,
        ):
            np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", MODELS)
def test_every_group_can_be_cut_and_rebuilt(make: Callable[[], keras.Model]) -> None:
    graph = read_keras_json(make().to_json())
    groups = [group for group in channel_groups(graph, residual="coupled") if group.prunable]
    assert groups
    for group in groups:
        cut = with_widths(graph, {group.name: group.width - 1})
        model = build_model(cut)
        assert model.count_params() == cost_of(cut).parameters < cost_of(graph).parameters


def test_nested_layers_are_named_after_their_model() -> None:
    graph = read_keras_json(nested().to_json())
    assert [layer.name for layer in graph] == [
        "image", "backbone.conv", "backbone.bn", "backbone.pool", "up", "add", "head.pool", "head.dense",
    ]  # fmt: skip
    assert graph["add"].inputs == ("backbone.bn", "up")


def test_shared_weights_count_once_and_multiply_every_time() -> None:
    graph = read_keras_json(siamese().to_json())
    assert graph["twin_call2.conv"].shares == "twin.conv"
    assert graph["twin_call2.flat"].shares == ""
    costs = layer_costs(graph)
    assert costs["twin.conv"].parameters == 3 * 3 * 3 * 5 + 5
    assert costs["twin_call2.conv"].parameters == 0
    assert costs["twin_call2.conv"].macs == costs["twin.conv"].macs > 0


def test_calls_of_one_layer_make_one_group() -> None:
    groups = {group.name: group for group in channel_groups(read_keras_json(recurrent().to_json()))}
    assert set(groups) == {"stem", "logits"}  # what the convolution takes is what it returns
    assert groups["stem"].producers == ("stem", "again", "again_call2", "again_call3")
    assert groups["stem"].prunable


def test_inputs_keep_their_order() -> None:
    graph = read_keras_json(several_ends().to_json())
    assert [layer.name for layer in graph if layer.op == "InputLayer"] == ["meta", "image"]
    assert graph.outputs == ("late", "early")
    assert {group.name for group in channel_groups(graph) if not group.prunable} == {"late", "early"}


def test_a_layer_cannot_share_weights_of_another_size() -> None:
    data = read_keras_json(recurrent().to_json()).to_dict()
    call = next(layer for layer in data["layers"] if layer["name"] == "again_call2")
    call["inputs"] = ["pixels"]
    with pytest.raises(InvalidArgument, match=r"another size|does not lead"):
        from_data(data)
    call["shares"] = "stem"
    with pytest.raises(InvalidArgument, match=r"another kind|does not lead"):
        from_data(data)


def test_calls_of_models_within_models_do_not_multiply_without_end() -> None:
    """Each model calls the one within it twice: 2^16 layers from 40 lines."""
    model: dict[str, Any] = {"class_name": "ReLU", "config": {"name": "relu"}, "name": "relu"}
    for depth in range(16):
        name = model["name"]
        inner = {**model, "inbound_nodes": [[["x", 0, 0, {}]], [[name, 0, 0, {}]]]}
        start = {"class_name": "InputLayer", "name": "x", "config": {"batch_input_shape": [None, 4]}, "inbound_nodes": []}
        config = {"name": f"m{depth}", "layers": [start, inner], "input_layers": [["x", 0, 0]], "output_layers": [[name, 1, 0]]}
        model = {"class_name": "Functional", "name": f"m{depth}", "config": config}
    with pytest.raises(InvalidArgument) as caught:
        read_keras_json(json.dumps(model))
    assert caught.value.reason == "ARCHITECTURE_TOO_LARGE"


@pytest.fixture
def channels_first() -> Iterator[None]:
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


def gated(shape: tuple[int, int, int], axis: int) -> keras.Model:
    pixels = keras.Input(shape, name="pixels")
    stream = layers.ZeroPadding2D(1, name="pad")(pixels)
    stream = layers.Conv2D(6, 3, strides=2, name="conv")(stream)
    stream = layers.BatchNormalization(axis=axis, name="bn")(stream)
    gate = layers.GlobalAveragePooling2D(name="squeeze")(stream)
    gate = layers.Reshape((6, 1, 1) if axis == 1 else (1, 1, 6), name="reshape")(gate)
    gate = layers.Conv2D(6, 1, activation="sigmoid", name="excite")(gate)
    stream = layers.Multiply(name="gate")([stream, gate])
    stream = layers.Concatenate(axis=axis, name="concat")([stream, layers.DepthwiseConv2D(1, name="depthwise")(stream)])
    stream = layers.PReLU(shared_axes=[2, 3] if axis == 1 else [1, 2], name="slopes")(stream)
    stream = layers.SpatialDropout2D(0.1, name="dropout")(layers.AveragePooling2D(2, name="pool")(stream))
    return keras.Model(pixels, layers.Dense(3, name="logits")(layers.Flatten(name="flat")(stream)), name="gated")


def test_channels_first_is_the_same_network(channels_first: None) -> None:
    first = read_keras_json(gated((3, 9, 7), 1).to_json())
    keras.config.set_image_data_format("channels_last")
    last = read_keras_json(gated((9, 7, 3), 3).to_json())
    assert first == last
    assert first.input_shape == (9, 7, 3)


def test_layers_that_work_along_columns_cannot_be_turned(channels_first: None) -> None:
    pixels = keras.Input((3, 8, 8), name="pixels")
    stream = layers.Dense(4, name="columns")(layers.Conv2D(4, 3, name="conv")(pixels))
    with pytest.raises(InvalidArgument, match="cannot be turned") as caught:
        read_keras_json(keras.Model(pixels, stream).to_json())
    assert caught.value.field == "columns"


def test_two_layouts_in_one_network_are_refused() -> None:
    pixels = keras.Input((8, 8, 8), name="pixels")
    stream = layers.Conv2D(4, 3, data_format="channels_first", name="first")(layers.Conv2D(8, 1, name="last")(pixels))
    with pytest.raises(InvalidArgument, match="one layout throughout") as caught:
        read_keras_json(keras.Model(pixels, stream).to_json())
    assert caught.value.field == "first"


def old(kind: str, name: str, nodes: list[Any], **config: Any) -> dict[str, Any]:
    """A layer as tf.keras 2 writes it."""
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}


def test_keras_2_with_nested_shared_and_arithmetic() -> None:
    chain = {"name": "chain", "layers": [old("Dense", "dense", [], units=4, activation="linear")]}
    model = {
        "class_name": "Functional",
        "keras_version": "2.13.1",
        "config": {
            "name": "old",
            "layers": [
                old("InputLayer", "input_1", [], batch_input_shape=[None, 6], ragged=False, sparse=False),
                old("Dense", "twice", [[["input_1", 0, 0, {}]], [["twice", 0, 0, {}]]], units=6),
                old("TFOpLambda", "tf.math.multiply", [["twice", 1, 0, {"y": 0.5, "name": None}]], function="math.multiply"),
                old("TFOpLambda", "tf.add", [["tf.math.multiply", 0, 0, {"y": ["twice", 0, 0]}]], function="__operators__.add"),
                {"class_name": "Sequential", "name": "chain", "config": chain, "inbound_nodes": [[["tf.add", 0, 0, {}]]]},
            ],
            "input_layers": [["input_1", 0, 0]],
            "output_layers": [["chain", 1, 0]],  # tf.keras counts the calls of a model from 1
        },
    }
    graph = read_keras_json(json.dumps(model))
    assert [(layer.name, layer.op) for layer in graph] == [
        ("input_1", "InputLayer"), ("twice", "Dense"), ("twice_call2", "Dense"), ("tf.math.multiply", "Rescaling"),
        ("tf.add", "Add"), ("chain.dense", "Dense"),
    ]  # fmt: skip
    assert graph["tf.math.multiply"].config == {"scale": 0.5, "offset": 0.0}
    assert cost_of(graph).parameters == 6 * 6 + 6 + 6 * 4 + 4


@pytest.mark.parametrize(
    ("call", "name", "way_out"),
    [
        (layers.RandomFlip("horizontal", name="flip"), "flip", "the recipe of a job does that"),
        (layers.Resizing(4, 4, name="smaller"), "smaller", "Supported:"),
        (lambda tensor: keras.ops.relu(tensor), "relu", "use a layer of keras.layers"),
        (lambda tensor: tensor[..., :2], "get_item", "use a layer of keras.layers"),
    ],
)
def test_what_cannot_be_read_is_named_with_a_way_out(call: Callable[[Any], Any], name: str, way_out: str) -> None:
    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, layers.Dense(2)(layers.Flatten()(call(layers.Conv2D(4, 3)(pixels)))))
    with pytest.raises(InvalidArgument) as caught:
        read_keras_json(model.to_json())
    assert caught.value.reason == "LAYER_UNSUPPORTED"
    assert caught.value.field.startswith(name)  # Keras numbers names that it chose itself
    assert way_out in caught.value.message
