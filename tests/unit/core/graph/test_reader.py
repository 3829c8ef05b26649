"""The allow-list reader: what it takes, and every way in which it says no."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, from_data, read_keras_json
from secateur.core.graph.assembly import MAX_LAYERS, Builder
from secateur.core.graph.documents import MAX_JSON_CHARACTERS
from tests.support.graphs import layer_graphs

Record = dict[str, Any]


def tensor(name: str, call: int = 0) -> Record:
    return {"class_name": "__keras_tensor__", "config": {"shape": [None, 1], "keras_history": [name, call, 0]}}


def record(kind: str, name: str, inputs: list[str], **config: Any) -> Record:
    """One layer as Keras 3 writes it."""
    tensors = [tensor(producer) for producer in inputs]
    nodes: list[Record] = [{"args": tensors if len(tensors) == 1 else [tensors], "kwargs": {}}] if inputs else []
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name, "trainable": True, **config},
        "registered_name": None,
        "name": name,
        "inbound_nodes": nodes,
    }


def residual_model() -> Record:
    """A small residual network as Keras 3 writes it."""
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            "name": "small",
            "layers": [
                record("InputLayer", "pixels", [], batch_shape=[None, 8, 8, 1], dtype="float32", sparse=False),
                record("Conv2D", "conv1", ["pixels"], filters=4, kernel_size=[3, 3], padding="same", activation="relu"),
                record("Conv2D", "conv2", ["conv1"], filters=4, kernel_size=[3, 3], padding="same"),
                record("Add", "add", ["conv1", "conv2"]),
                record("Flatten", "flatten", ["add"]),
                record("Dense", "logits", ["flatten"], units=3),
            ],
            "input_layers": ["pixels", 0, 0],
            "output_layers": ["logits", 0, 0],
        },
        "registered_name": "Functional",
    }


def layer(model: Record, name: str) -> Record:
    found: Record = next(item for item in model["config"]["layers"] if item["name"] == name)
    return found


def refused(model: Any) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        read_keras_json(model if isinstance(model, str) else json.dumps(model))
    return caught.value


def test_reads_shapes_defaults_and_normal_form() -> None:
    graph = read_keras_json(json.dumps(residual_model()))
    assert [item.output_shape for item in graph] == [(8, 8, 1), (8, 8, 4), (8, 8, 4), (8, 8, 4), (256,), (3,)]
    assert graph["conv1"].config == {
        "filters": 4,
        "kernel_size": [3, 3],
        "strides": [1, 1],
        "padding": "same",
        "dilation_rate": [1, 1],
        "activation": "relu",
        "use_bias": True,
        "groups": 1,
    }
    assert (graph.name, graph.input_shape, graph.classes, graph.outputs) == ("small", (8, 8, 1), 3, ("logits",))


def test_listing_order_does_not_matter() -> None:
    model = residual_model()
    graph = read_keras_json(json.dumps(model))
    model["config"]["layers"].reverse()
    assert read_keras_json(json.dumps(model)) == graph


def test_keras_2_functional_model() -> None:
    model = residual_model()
    for item in model["config"]["layers"]:
        item["inbound_nodes"] = [
            [[name, 0, 0, {}] for name in (["conv1", "conv2"] if item["name"] == "add" else [before])]
            for before in {"conv1": ["pixels"], "conv2": ["conv1"], "add": [""], "flatten": ["add"], "logits": ["flatten"]}.get(
                item["name"], []
            )
        ]
        del item["module"]
    layer(model, "pixels")["config"]["batch_input_shape"] = layer(model, "pixels")["config"].pop("batch_shape")
    model["config"]["output_layers"] = [["logits", 0, 0]]
    assert read_keras_json(json.dumps(model)) == read_keras_json(json.dumps(residual_model()))


def test_sequential_model_without_input_layer() -> None:
    dense = record("Dense", "logits", [], units=2)
    for known in ({"build_input_shape": [None, 5]}, {}):
        first = copy.deepcopy(dense)
        if not known:
            first["config"]["batch_input_shape"] = [None, 5]
        layers = [first, record("ReLU", "relu", [])]
        model = {"class_name": "Sequential", "config": {"name": "chain", "layers": layers, **known}}
        graph = read_keras_json(json.dumps(model))
        assert [item.name for item in graph] == ["logits_input", "logits", "relu"]
        assert graph.input_shape == (5,)
    unknown = refused({"class_name": "Sequential", "config": {"name": "chain", "layers": [dense]}})
    assert unknown.reason == "ARCHITECTURE_MALFORMED"
    assert "input shape is unknown" in unknown.message


def test_old_argument_names() -> None:
    model = residual_model()
    layer(model, "add")["inbound_nodes"][0]["args"] = [tensor("conv2")]
    layer(model, "add")["class_name"] = "LeakyReLU"
    layer(model, "add")["config"]["alpha"] = 0.2
    assert read_keras_json(json.dumps(model))["add"].config == {"negative_slope": 0.2}


# One entry per way of being refused: what is done to the layer "conv2" of a good model, the reason, a part of the sentence.
LAYER_FAULTS: dict[str, tuple[Callable[[Record], object], str, str]] = {
    "unknown": (lambda it: it.update(class_name="Conv3D"), "LAYER_UNSUPPORTED", "Supported: Activation"),
    "lambda": (lambda it: it.update(class_name="Lambda"), "LAYER_UNSUPPORTED", "code from clients is never run"),
    "custom": (lambda it: it.update(registered_name="mine>Conv2D"), "LAYER_UNSUPPORTED", "custom object"),
    "custom module": (lambda it: it.update(module="my_layers"), "LAYER_UNSUPPORTED", "custom object"),
    "subclassed": (
        lambda it: it.update(class_name="Mine", module="keras.src.models.model"), "LAYER_UNSUPPORTED", "carries code",
    ),
    "no layers within": (lambda it: it.update(class_name="Functional"), "ARCHITECTURE_MALFORMED", "list of layers"),
    "loose call": (lambda it: it["inbound_nodes"].append(it["inbound_nodes"][0]), "ARCHITECTURE_MALFORMED", "does not lead"),
    "no second call": (lambda it: it["inbound_nodes"][0].update(args=[tensor("conv1", 1)]), "ARCHITECTURE_MALFORMED", "call 2"),
    "layout": (lambda it: it["config"].update(data_format="channels_middle"), "LAYER_UNSUPPORTED", "channels_last"),
    "constant input": (lambda it: it["inbound_nodes"][0].update(args=[1.0]), "LAYER_UNSUPPORTED", "other than a layer's"),
    "keyword": (lambda it: it["inbound_nodes"][0].update(kwargs={"training": True}), "LAYER_UNSUPPORTED", "'training'=True"),
    "argument": (lambda it: it["config"].update(secret=[1]), "LAYER_UNSUPPORTED", "'secret'=[1]"),
    "activation": (lambda it: it["config"].update(activation="glu"), "LAYER_UNSUPPORTED", "activation must be one of"),
    "activation object": (lambda it: it["config"].update(activation={"class_name": "f"}), "LAYER_UNSUPPORTED", "by name"),
    "nested activation": (
        lambda it: it["config"].update(activation={"class_name": {"class_name": "ReLU"}}), "LAYER_UNSUPPORTED", "by name",
    ),
    "padding": (lambda it: it["config"].update(padding="causal"), "LAYER_UNSUPPORTED", "padding must be one of valid, same"),
    "strided, dilated": (lambda it: it["config"].update(strides=2, dilation_rate=2), "LAYER_UNSUPPORTED", "both"),
    "no filters": (lambda it: it["config"].pop("filters"), "ARCHITECTURE_MALFORMED", "needs the argument filters"),
    "zero filters": (lambda it: it["config"].update(filters=0), "ARCHITECTURE_MALFORMED", "at least 1. Received: 0"),
    "bool filters": (lambda it: it["config"].update(filters=True), "ARCHITECTURE_MALFORMED", "Received: True"),
    "float filters": (lambda it: it["config"].update(filters=4.0), "ARCHITECTURE_MALFORMED", "Received: 4.0"),
    "text filters": (lambda it: it["config"].update(filters="4"), "ARCHITECTURE_MALFORMED", "Received: '4'"),
    "triple kernel": (lambda it: it["config"].update(kernel_size=[3, 3, 3]), "ARCHITECTURE_MALFORMED", "kernel_size"),
    "bias": (lambda it: it["config"].update(use_bias=1), "ARCHITECTURE_MALFORMED", "true or false"),
    "groups": (lambda it: it["config"].update(groups=3), "ARCHITECTURE_MALFORMED", "must divide"),
    "window": (lambda it: it["config"].update(padding="valid", kernel_size=9), "ARCHITECTURE_MALFORMED", "slides a window"),
    "other width": (lambda it: it["config"].update(filters=5), "ARCHITECTURE_MALFORMED", "different shapes"),
    "unknown input": (lambda it: it["inbound_nodes"][0].update(args=[tensor("x")]), "ARCHITECTURE_MALFORMED", "not there"),
    "cycle": (lambda it: it["inbound_nodes"][0].update(args=[tensor("add")]), "ARCHITECTURE_MALFORMED", "no cycles"),
    "never called": (lambda it: it.update(inbound_nodes=[]), "ARCHITECTURE_MALFORMED", "never called"),
    "two inputs": (lambda it: it["inbound_nodes"][0].update(args=[tensor("conv1")] * 2), "ARCHITECTURE_MALFORMED", "1 input."),
    "no config": (lambda it: it.update(config=None), "ARCHITECTURE_MALFORMED", "config of layer 'conv2' must be an object"),
    "no class": (lambda it: it.pop("class_name"), "ARCHITECTURE_MALFORMED", "must be text"),
    "list class": (lambda it: it.update(class_name=["Conv2D"]), "ARCHITECTURE_MALFORMED", "must be text"),
    "no history": (lambda it: it["inbound_nodes"][0]["args"][0].update(config={}), "ARCHITECTURE_MALFORMED", "names no layer"),
    "huge filters": (lambda it: it["config"].update(filters=10**30), "ARCHITECTURE_TOO_LARGE", "at most 100000"),
    "huge kernel": (lambda it: it["config"].update(kernel_size=1025), "ARCHITECTURE_TOO_LARGE", "at most 1024"),
    "huge weights": (lambda it: it["config"].update(filters=100_000, kernel_size=1024), "ARCHITECTURE_TOO_LARGE", "kernels"),
}  # fmt: skip


@pytest.mark.parametrize("fault", LAYER_FAULTS)
def test_bad_layers_are_refused_by_name(fault: str) -> None:
    spoil, reason, text = LAYER_FAULTS[fault]
    model = residual_model()
    spoil(layer(model, "conv2"))
    error = refused(model)
    assert (error.reason, text in error.message) == (reason, True), error.message
    shows_at = {"other width": "add", "cycle": "add", "loose call": "conv2_call2"}.get(
        fault, "conv2"
    )  # where the fault is noticed
    assert error.field == shows_at
    assert repr(shows_at) in error.message


MODEL_FAULTS: dict[str, tuple[Callable[[Record], object], str, str]] = {
    "subclassed": (lambda it: it.update(class_name="MyModel"), "LAYER_UNSUPPORTED", "carries code"),
    "registered": (lambda it: it.update(registered_name="mine>Functional"), "LAYER_UNSUPPORTED", "carries code"),
    "no output": (lambda it: it["config"].update(output_layers=[["nobody", 0, 0]]), "ARCHITECTURE_MALFORMED", "'nobody'"),
    "no outputs": (lambda it: it["config"].pop("output_layers"), "ARCHITECTURE_MALFORMED", "list of outputs"),
    "dict of inputs": (
        lambda it: it["config"].update(input_layers={"left": ["pixels", 0, 0]}),
        "LAYER_UNSUPPORTED", "one keras.Input of images and one output, without a dict. Received: ['left']",
    ),
    "no layers": (lambda it: it["config"].update(layers=[]), "ARCHITECTURE_MALFORMED", "The output is a layer"),
    "no inputs": (lambda it: it["config"]["layers"].pop(0), "ARCHITECTURE_MALFORMED", "not there. Received: 'pixels'"),
    "layers": (lambda it: it["config"].update(layers={}), "ARCHITECTURE_MALFORMED", "list of layers"),
    "layer": (lambda it: it["config"].update(layers=[7]), "ARCHITECTURE_MALFORMED", "A layer must be an object"),
    "config": (lambda it: it.update(config=[]), "ARCHITECTURE_MALFORMED", "config must be an object"),
    "twice": (lambda it: it["config"]["layers"].append(layer(it, "conv2")), "ARCHITECTURE_MALFORMED", "unique"),
    "unused": (
        lambda it: it["config"]["layers"].append(record("ReLU", "loose", ["add"])), "ARCHITECTURE_MALFORMED", "does not lead",
    ),
    "bad name": (lambda it: layer(it, "pixels").update(name="a/b\ud800"), "ARCHITECTURE_MALFORMED", "A layer name has"),
    "free size": (
        lambda it: layer(it, "pixels")["config"].update(batch_shape=[None, None, 8, 1]), "LAYER_UNSUPPORTED", "fixed sizes",
    ),
    "no shape": (lambda it: layer(it, "pixels")["config"].pop("batch_shape"), "ARCHITECTURE_MALFORMED", "batch first"),
    "sparse": (lambda it: layer(it, "pixels")["config"].update(sparse=True), "LAYER_UNSUPPORTED", "sparse tensors"),
    "huge input": (
        lambda it: layer(it, "pixels")["config"].update(batch_shape=[None, 10**5, 10**5, 3]),
        "ARCHITECTURE_TOO_LARGE", "values",
    ),
    "many layers": (
        lambda it: it["config"]["layers"].extend(record("ReLU", f"r{n}", ["add"]) for n in range(MAX_LAYERS)),
        "ARCHITECTURE_TOO_LARGE", str(MAX_LAYERS),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", MODEL_FAULTS)
def test_bad_models_are_refused(fault: str) -> None:
    spoil, reason, text = MODEL_FAULTS[fault]
    model = residual_model()
    spoil(model)
    error = refused(model)
    assert (error.reason, text in error.message) == (reason, True), error.message
    error.message.encode()  # nothing of a bad name may make the answer unsendable
    error.field.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "3",
        '"x"',
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 10_000,
        '{"class_name": NaN}',
        '{"config": Infinity}',
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text_is_refused(text: str) -> None:
    assert refused(text).reason in ("ARCHITECTURE_MALFORMED", "LAYER_UNSUPPORTED")


@pytest.mark.parametrize("depth", [50, 900, 5_000])
def test_deep_values_inside_a_good_model_are_refused(depth: int) -> None:
    text = json.dumps(residual_model()).replace('"units": 3', '"units": ' + "[" * depth + "]" * depth)
    assert refused(text).reason == "ARCHITECTURE_MALFORMED"


def test_infinite_numbers_are_refused() -> None:
    text = json.dumps(residual_model()).replace('"units": 3', '"units": 1e999')
    assert refused(text).field == "logits"


def test_too_much_text_is_refused_unread() -> None:
    assert refused(" " * (MAX_JSON_CHARACTERS + 1)).reason == "ARCHITECTURE_TOO_LARGE"


@settings(max_examples=80)
@given(layer_graphs(every_kind=True))
def test_data_round_trip(graph: LayerGraph) -> None:
    again = from_data(json.loads(json.dumps(graph.to_dict())))
    assert again == graph
    assert again.digest == graph.digest


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in _places(inner, (*path, key)))]


@pytest.mark.parametrize(
    ("layer", "changed", "text"),
    [
        ("second", {"name": "first"}, "unique"),
        ("second", {"name": "a/b"}, "name"),
        ("second", {"inputs": ["nowhere"]}, "not there"),
        ("second", {"shares": "nowhere"}, "shares the weights of a layer that is not there"),
        ("second", {"shares": "logits"}, "another kind of layer"),
        ("", {"outputs": []}, "needs an output"),
        ("", {"outputs": ["nowhere"]}, "not in the network"),
    ],
)
def test_data_of_our_own_is_checked_as_any_other(layer: str, changed: dict[str, Any], text: str) -> None:
    net = Builder("net", (8, 8, 3))
    for name in ("first", "second"):
        net.add("Conv2D", name, filters=3, kernel_size=1)
    net.add("Dense", "logits", units=2)
    data = net.build().to_dict()
    next((each for each in data["layers"] if each["name"] == layer), data).update(changed)
    with pytest.raises(InvalidArgument, match=text):
        from_data(data)


@settings(max_examples=200)
@given(st.data(), _JSON)
def test_any_value_in_any_place_is_read_or_refused(data: st.DataObject, value: Any) -> None:
    readers: list[tuple[Record, Callable[[Record], LayerGraph]]] = [
        (residual_model(), lambda model: read_keras_json(json.dumps(model))),
        (read_keras_json(json.dumps(residual_model())).to_dict(), from_data),
    ]
    for good, read in readers:
        *path, last = data.draw(st.sampled_from(_places(good)[1:]))
        place: Any = good
        for key in path:
            place = place[key]
        place[last] = value
        with contextlib.suppress(InvalidArgument):  # and nothing else
            graph = read(good)
            assert from_data(graph.to_dict()) == graph
