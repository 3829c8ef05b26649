"""Reading networks from Keras JSON and from our own data.

**No client bytes are ever deserialised by Keras, pickle or an eval**: plain JSON is walked by hand, and only what is expected
is taken. Everything else is refused with a sentence that names the layer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn

from secateur.core.graph.arguments import MALFORMED, TOO_LARGE, UNSUPPORTED, LayerError, show
from secateur.core.graph.assembly import Call, assemble, refuse, refuse_layer
from secateur.core.graph.ir import LayerGraph
from secateur.core.graph.layers import operation_of

MAX_JSON_CHARACTERS: Final = 16 * 2**20
"""Longest Keras JSON, about 60 times that of ResNet-152."""

_MODELS: Final = ("Functional", "Sequential", "Model")
_OLD_NAMES: Final = {"LeakyReLU": {"alpha": "negative_slope"}}
"""Arguments that Keras 2 called otherwise."""


def read_keras_json(text: str) -> LayerGraph:
    """Reads the architecture in `keras.Model.to_json()`, Keras 3 or 2, Functional or Sequential.

    Args:
        text: The JSON.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED, LAYER_UNSUPPORTED or ARCHITECTURE_TOO_LARGE, naming the layer.
    """
    if len(text) > MAX_JSON_CHARACTERS:
        raise refuse(TOO_LARGE, f"Keras JSON may have at most {MAX_JSON_CHARACTERS} characters. Received: {len(text)}")
    try:
        return _read_model(_parse(text))
    except RecursionError:
        raise refuse(MALFORMED, "The architecture is nested too deeply to be a network") from None


def from_data(data: Any) -> LayerGraph:
    """Rebuilds a graph from what `LayerGraph.to_dict` returned, through the same checks as any other graph.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED, LAYER_UNSUPPORTED or ARCHITECTURE_TOO_LARGE, naming the layer.
    """
    try:
        top = _mapping(data, "The graph")
        calls = [_stored_call(_mapping(item, "A layer")) for item in _list(top.get("layers"), "The list of layers")]
        outputs = tuple(_string(entry, "An output") for entry in _list(top.get("outputs"), "The list of outputs"))
        return assemble(_string(top.get("name"), "The name of the graph"), calls, outputs)
    except RecursionError:
        raise refuse(MALFORMED, "The graph is nested too deeply to be a network") from None


def _stored_call(layer: Mapping[str, Any]) -> Call:
    name = _string(layer.get("name"), "The name of a layer")
    inputs = _list(layer.get("inputs"), f"The list of inputs of layer {show(name)}", name)
    producers = tuple(_string(entry, f"An input of layer {show(name)}", name) for entry in inputs)
    config = _mapping(layer.get("config"), f"The config of layer {show(name)}", name)
    return Call(name, _op(name, layer.get("op")), producers, config)


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError as error:  # not only JSONDecodeError: numbers may have too many digits
        raise refuse(MALFORMED, f"The architecture is not valid JSON: {str(error)[:200]}") from None


def _read_model(document: Any) -> LayerGraph:
    top = _mapping(document, "The architecture")
    kind = top.get("class_name")
    if kind not in _MODELS or top.get("registered_name") not in (None, kind):
        raise refuse(
            UNSUPPORTED,
            f"Only Functional and Sequential models can be read; a subclassed model carries code. Received: {show(kind)}",
        )
    config = _mapping(top.get("config"), "The model's config")
    name = _string(config.get("name", "model"), "The model's name")
    records = [_mapping(record, "A layer") for record in _list(config.get("layers"), "The model's list of layers")]
    if kind == "Sequential":
        calls = _sequential_calls(records, config)
        return assemble(name, calls, (calls[-1].name,))
    return assemble(name, [_functional_call(record) for record in records], _ends(config.get("output_layers")))


def _sequential_calls(records: list[Mapping[str, Any]], config: Mapping[str, Any]) -> list[Call]:
    calls: list[Call] = []
    for record in records:
        call = _call(record, (calls[-1].name,) if calls else ())
        if not calls and call.op != "InputLayer":
            source = Call(f"{call.name}_input", "InputLayer", (), {"shape": _sequential_input(record, call, config)})
            calls.append(source)
            call = replace(call, inputs=(source.name,))
        elif calls and call.op == "InputLayer":
            raise refuse(MALFORMED, f"Layer {show(call.name)} is an input in the middle of the model", layer=call.name)
        calls.append(call)
    if not calls:
        raise refuse(MALFORMED, "The model has no layers")
    return calls


def _sequential_input(record: Mapping[str, Any], first: Call, config: Mapping[str, Any]) -> Any:
    """Returns the input shape of a Sequential model without an InputLayer, from wherever Keras left it."""
    for shape in (record["config"].get("batch_input_shape"), config.get("build_input_shape")):
        if shape is not None:
            return _without_batch(first.name, first.op, shape)
    raise refuse(
        MALFORMED,
        f"The input shape is unknown; add a keras.Input before layer {show(first.name)} or build the model before saving it",
        layer=first.name,
    )


def _functional_call(record: Mapping[str, Any]) -> Call:
    name = _layer_name(record)
    nodes = _list(record.get("inbound_nodes"), f"The list of inbound nodes of layer {show(name)}", name)
    op = record.get("class_name")
    if len(nodes) > 1:
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(name)} is called {len(nodes)} times; layers that share weights are not supported",
            layer=name,
        )
    if not nodes and op != "InputLayer":
        _op(name, op)  # an unknown kind is the better thing to say
        raise refuse(MALFORMED, f"Layer {show(name)} is never called", layer=name)
    return _call(record, _inputs(name, nodes[0]) if nodes else ())


def _call(record: Mapping[str, Any], inputs: tuple[str, ...]) -> Call:
    name = _layer_name(record)
    kind, package, module = record.get("class_name"), record.get("registered_name"), record.get("module")
    if kind in _MODELS or (isinstance(module, str) and ".models" in module):
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(name)} is a whole model; nested models are not supported. Call its layers one by one instead",
            layer=name,
        )
    if kind in ("Lambda", "TFOpLambda", "SlicingOpLambda"):
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(name)} is a {kind}; code from clients is never run. Use one of Keras's own layers",
            layer=name,
        )
    if package not in (None, kind) or module not in (None, "keras.layers"):
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(name)} is a custom object, which would need your code here. "
            f"Received: {show(kind)} of {show(package or module)}",
            layer=name,
        )
    op = _op(name, kind)
    config = dict(_mapping(record.get("config"), f"The config of layer {show(name)}", name))
    batch_shape = config.pop("batch_shape", None) or config.pop("batch_input_shape", None)
    if op == "InputLayer":
        config = _input_config(name, config, batch_shape)
    for old, new in _OLD_NAMES.get(op, {}).items():
        if old in config:
            config[new] = config.pop(old)
    return Call(name, op, inputs, config)


def _input_config(name: str, config: Mapping[str, Any], batch_shape: Any) -> dict[str, Any]:
    for key in ("sparse", "ragged", "optional"):
        if config.get(key):
            raise refuse(UNSUPPORTED, f"Layer {show(name)} takes {key} tensors, which are not supported", layer=name)
    return {"shape": _without_batch(name, "InputLayer", batch_shape)}


def _without_batch(name: str, op: str, shape: Any) -> Any:
    if not isinstance(shape, list) or not shape:
        raise refuse_layer(LayerError(MALFORMED, f"needs a shape with the batch first. Received: {show(shape)}"), name, op)
    return shape[1:]


def _op(name: str, kind: Any) -> str:
    op = _string(kind, f"The class name of layer {show(name)}", name)
    try:
        operation_of(op)
    except LayerError as refusal:
        raise refuse_layer(refusal, name, show(op)) from None
    return op


def _inputs(name: str, node: Any) -> tuple[str, ...]:
    """Returns the producers that a call takes, from a Keras 3 or a Keras 2 node."""
    if isinstance(node, Mapping):
        _check_kwargs(name, _mapping(node.get("kwargs", {}), f"The keyword arguments of layer {show(name)}", name))
        found: list[str] = []
        for argument in _list(node.get("args"), f"The arguments of layer {show(name)}", name):
            tensors = argument if isinstance(argument, list) else [argument]
            found.extend(_producer(name, tensor) for tensor in tensors)
        return tuple(found)
    histories = _list(node, f"The inbound node of layer {show(name)}", name)
    for history in histories:
        if isinstance(history, list) and len(history) == 4:
            _check_kwargs(name, _mapping(history[3], f"The keyword arguments of layer {show(name)}", name))
    return tuple(_history(name, history[:3] if isinstance(history, list) else history) for history in histories)


def _check_kwargs(name: str, kwargs: Mapping[str, Any]) -> None:
    for key, value in kwargs.items():
        if value not in (None, False):  # Keras writes training=False for Dropout
            raise refuse(
                UNSUPPORTED,
                f"Layer {show(name)} is called with an argument that is not supported. Received: {show(key)}={show(value)}",
                layer=name,
            )


def _producer(name: str, tensor: Any) -> str:
    if not isinstance(tensor, Mapping) or tensor.get("class_name") != "__keras_tensor__":
        raise refuse(
            UNSUPPORTED, f"Layer {show(name)} takes something other than a layer's output. Received: {show(tensor)}", layer=name
        )
    config = _mapping(tensor.get("config"), f"An input of layer {show(name)}", name)
    return _history(name, config.get("keras_history"))


def _history(name: str, history: Any) -> str:
    """Returns the producer named by [layer, call, output]."""
    if not isinstance(history, list) or len(history) != 3 or not isinstance(history[0], str):
        raise refuse(MALFORMED, f"Layer {show(name)} has an input that names no layer. Received: {show(history)}", layer=name)
    producer, call, output = history
    if type(call) is not int or type(output) is not int or call != 0 or output != 0:
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(name)} takes the output of a second call; layers that share weights are not supported. "
            f"Received: {show(history)}",
            layer=name,
        )
    return str(producer)


def _ends(outputs: Any) -> tuple[str, ...]:
    """Returns the names in `output_layers`: [name, 0, 0], or a list of such triples."""
    entries = _list(outputs, "The model's list of outputs")
    if len(entries) == 3 and isinstance(entries[0], str):
        entries = [entries]
    return tuple(_history("output_layers", entry) for entry in entries)


def _layer_name(record: Mapping[str, Any]) -> str:
    config = record.get("config")
    inner = config.get("name") if isinstance(config, Mapping) else None
    return _string(record.get("name", inner), "The name of a layer")


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _mapping(value: Any, what: str, layer: str = "") -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise refuse(MALFORMED, f"{what} must be an object. Received: {show(value)}", layer=layer)
    return value


def _list(value: Any, what: str, layer: str = "") -> list[Any]:
    if not isinstance(value, list):
        raise refuse(MALFORMED, f"{what} must be a list. Received: {show(value)}", layer=layer)
    return value


def _string(value: Any, what: str, layer: str = "") -> str:
    if not isinstance(value, str):
        raise refuse(MALFORMED, f"{what} must be text. Received: {show(value)}", layer=layer)
    return value
