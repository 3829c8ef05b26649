"""Models within models, and layers that are called several times, laid out as one list of calls.

A layer of a nested model is named after the model and itself, "backbone.conv1"; the second call of a layer is called
"conv1_call2" and names the first as the one whose weights it shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from secateur.core.graph.arguments import MALFORMED, TOO_LARGE, UNSUPPORTED, show
from secateur.core.graph.assembly import MAX_LAYERS, Call
from secateur.core.graph.documents import mapping, refuse, sequence, string
from secateur.core.graph.nodes import Operand, Source, ends_of, operands_of
from secateur.core.graph.records import (
    BEFORE,
    MODELS,
    Record,
    is_model,
    name_of,
    read_record,
    steps_of,
    without_batch,
)

MAX_NESTING: Final = 16
"""Most models within each other."""


class Model:
    """One model as read: its layers and how they are called.

    Args:
        data: Keras's record of it.
        depth: Models around it.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED, LAYER_UNSUPPORTED or ARCHITECTURE_TOO_LARGE.
    """

    def __init__(self, data: Mapping[str, Any], depth: int = 0) -> None:
        if depth > MAX_NESTING:
            raise refuse(TOO_LARGE, f"Models may be nested at most {MAX_NESTING} deep")
        name = "" if depth == 0 else name_of(data)
        config = mapping(data.get("config"), f"The config of model {show(name)}" if name else "The model's config", name)
        self.name = string(config.get("name", "model"), "The model's name")
        records = [
            mapping(item, "A layer")
            for item in sequence(
                config.get("layers"),
                f"The list of layers of model {show(name)}" if name else "The model's list of layers",
                name,
            )
        ]
        if len(records) > MAX_LAYERS:
            raise refuse(TOO_LARGE, f"A network may have at most {MAX_LAYERS} layers. Received: {len(records)}")
        self.layers: dict[str, Record | Model] = {}
        self.calls: dict[str, list[tuple[Operand, ...]]] = {}
        self.inputs: list[str] = []
        self.outputs: tuple[Source, ...] = ()
        self.first_call: dict[str, int] = {}
        if data.get("class_name") == "Sequential":
            self._chain(records, config, depth)
        else:
            self._functional(records, config, depth)
            self.first_call = self._first_calls()

    def _functional(self, records: list[Mapping[str, Any]], config: Mapping[str, Any], depth: int) -> None:
        self.outputs = ends_of(config.get("output_layers"), "The model's list of outputs")
        for record in records:
            name = name_of(record)
            self._add(name, record, depth)  # first: what is wrong with a layer says more than how it is called
            nodes = sequence(record.get("inbound_nodes"), f"The list of inbound nodes of layer {show(name)}", name)
            if not nodes and record.get("class_name") != "InputLayer":
                raise refuse(MALFORMED, f"Layer {show(name)} is never called", layer=name)
            self.calls[name] = [operands_of(name, node) for node in nodes] or [()]
        for output in self.outputs:
            if output.layer not in self.layers:
                raise refuse(MALFORMED, f"The output is a layer that is not in the network. Received: {show(output.layer)}")
        ends = config.get("input_layers")
        declared = [end.layer for end in ends_of(ends, "The model's list of inputs")] if ends else []
        found = [name for name, layer in self.layers.items() if isinstance(layer, Record) and layer.op == "InputLayer"]
        self.inputs = [name for name in dict.fromkeys(declared + found) if name in found]

    def _first_calls(self) -> dict[str, int]:
        """Returns the models in here whose calls are counted from 1.

        Calling a model's layers when it was made counts as its call 0 where Keras 2 writes it, and is left out of the calls.
        """
        taken = [*self.outputs, *(item for calls in self.calls.values() for operands in calls for item in operands)]
        return {
            item.layer: 1
            for item in taken
            if isinstance(item, Source)
            and isinstance(self.layers.get(item.layer), Model)
            and item.call == len(self.calls[item.layer])
        }

    def _chain(self, records: list[Mapping[str, Any]], config: Mapping[str, Any], depth: int) -> None:
        before = ""
        for record in records:
            name = name_of(record)
            source = record.get("class_name") == "InputLayer"
            if source and before:
                raise refuse(MALFORMED, f"Layer {show(name)} is an input in the middle of the model", layer=name)
            if not source and not before:
                before = f"{name}_input"
                self.inputs = [before]
                self.layers[before] = Record(before, "InputLayer", {"shape": _chain_input(record, name, config)})
                self.calls[before] = [()]
            self._add(name, record, depth)
            self.calls[name] = [(Source(before),)] if before else [()]
            self.inputs = self.inputs or [name]
            before = name
        if not before:
            raise refuse(MALFORMED, "The model has no layers")
        self.outputs = (Source(before),)

    def _add(self, name: str, record: Mapping[str, Any], depth: int) -> None:
        if name in self.layers:
            raise refuse(MALFORMED, f"Layer names are unique. Received: {show(name)} twice", layer=name)
        self.layers[name] = Model(record, depth + 1) if is_model(record) else read_record(record)


def _chain_input(record: Mapping[str, Any], name: str, config: Mapping[str, Any]) -> Any:
    """Returns the input shape of a Sequential model without an InputLayer, from wherever Keras left it; None if nowhere."""
    own = mapping(record.get("config"), f"The config of layer {show(name)}", name)
    for shape in (own.get("batch_input_shape"), config.get("build_input_shape")):
        if shape is not None:
            return without_batch(name, str(record.get("class_name")), shape)
    return None


@dataclass(frozen=True, eq=False)
class Scope:
    """One call of one model.

    Args:
        model: What is called.
        prefix: What its layers' names start with in the flat network.
        owner: What the names of the layers start with whose weights are used.
        outer: Scope of the call; None for the network itself.
        name: Name of the model in the outer scope.
        number: Which call of it this is.
    """

    model: Model
    prefix: str = ""
    owner: str = ""
    outer: Scope | None = None
    name: str = ""
    number: int = 0

    @cached_property
    def inner(self) -> dict[tuple[str, int], Scope]:
        """Calls of models within this call, by name and number."""
        return {
            (name, number): Scope(layer, f"{self.prefix}{_numbered(name, number)}.", f"{self.owner}{name}.", self, name, number)
            for name, layer in self.model.layers.items()
            if isinstance(layer, Model)
            for number in range(len(self.model.calls[name]))
        }


def flatten(model: Model) -> tuple[list[Call], tuple[str, ...]]:
    """Lays a model out.

    Returns:
        Calls, the network's inputs first, and the names of the calls that give its outputs.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED, LAYER_UNSUPPORTED or ARCHITECTURE_TOO_LARGE, naming the layer.
    """
    top = Scope(model)
    calls: list[Call] = []
    waiting = [top]
    scopes = 1
    while waiting:
        scope = waiting.pop()
        calls.extend(_calls_in(scope))
        scopes += len(scope.inner)
        if len(calls) > MAX_LAYERS or scopes > MAX_LAYERS:
            raise refuse(TOO_LARGE, f"A network may have at most {MAX_LAYERS} layers. Received: more, counting nested models")
        waiting.extend(scope.inner.values())
    first = {name: number for number, name in enumerate(model.inputs)}
    calls.sort(key=lambda call: first.get(call.name, len(first)))
    return calls, tuple(_resolve("output_layers", top, source) for source in model.outputs)


def _calls_in(scope: Scope) -> Iterator[Call]:
    """Yields the calls of the layers that lie directly in a model."""
    for name, layer in scope.model.layers.items():
        if isinstance(layer, Model):
            continue
        if layer.op == "InputLayer":
            if scope.outer is None:
                if layer.config["shape"] is None:
                    first = name.removesuffix("_input")
                    raise refuse(
                        MALFORMED,
                        f"The input shape is unknown; add a keras.Input before layer {show(first)} or build the model before "
                        "saving it",
                        layer=first,
                    )
                yield Call(name, "InputLayer", (), layer.config)
            continue
        for number, operands in enumerate(scope.model.calls[name]):
            before = ""
            for step in steps_of(layer, operands):
                called = scope.prefix + _numbered(name, number) + step.suffix
                shared = scope.owner + name + step.suffix
                taken = tuple(before if source == BEFORE else _resolve(name, scope, source) for source in step.operands)
                yield Call(called, step.op, taken, step.config, shared if shared != called else "")
                before = called


def _resolve(reader: str, scope: Scope, source: Source) -> str:
    """Returns the name, in the flat network, of the call that gives a tensor: through models, into them and out of them."""
    for _ in range(MAX_LAYERS):
        layer = scope.model.layers.get(source.layer)
        if layer is None:
            raise refuse(
                MALFORMED,
                f"Layer {show(reader)} takes the output of a layer that is not there. Received: {show(source.layer)}",
                layer=reader,
            )
        number = source.call - scope.model.first_call.get(source.layer, 0)
        if not 0 <= number < len(scope.model.calls[source.layer]):
            raise refuse(
                MALFORMED,
                f"Layer {show(reader)} takes the output of a call that is not there. "
                f"Received: call {source.call + 1} of {show(source.layer)}",
                layer=reader,
            )
        if isinstance(layer, Model):
            if source.output >= len(layer.outputs):
                raise _no_output(reader, source)
            scope, source = scope.inner[source.layer, number], layer.outputs[source.output]
            continue
        if source.output:
            raise _no_output(reader, source)
        if layer.op != "InputLayer" or scope.outer is None:
            suffix = ".activation" if layer.activation else ""
            return scope.prefix + _numbered(source.layer, number) + suffix
        given = scope.outer.model.calls[scope.name][scope.number]
        entered = dict(zip(scope.model.inputs, given, strict=False)).get(source.layer)
        if len(given) != len(scope.model.inputs) or not isinstance(entered, Source):
            raise refuse(
                MALFORMED,
                f"Model {show(scope.name)} takes {len(scope.model.inputs)} tensors. Received: {show(list(given))}",
                layer=scope.name,
            )
        scope, source = scope.outer, entered
    raise refuse(MALFORMED, f"Layer {show(reader)} depends on its own output; a network has no cycles", layer=reader)


def _no_output(reader: str, source: Source) -> Exception:
    return refuse(
        UNSUPPORTED,
        f"Layer {show(reader)} takes an output that is not there. Received: output {source.output + 1} of {show(source.layer)}",
        layer=reader,
    )


def _numbered(name: str, number: int) -> str:
    return name if number == 0 else f"{name}_call{number + 1}"


def read_model(document: Any) -> Model:
    """Reads the outermost model of a Keras JSON.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED, LAYER_UNSUPPORTED or ARCHITECTURE_TOO_LARGE, naming the layer.
    """
    top = mapping(document, "The architecture")
    kind = top.get("class_name")
    if kind not in MODELS or top.get("registered_name") not in (None, *MODELS):
        raise refuse(
            UNSUPPORTED,
            f"Only Functional and Sequential models can be read; a subclassed model carries code. Received: {show(kind)}",
        )
    return Model(top)
