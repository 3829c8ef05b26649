"""Layers as Keras writes them, turned into operations of our table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from secateur.core.graph.arguments import MALFORMED, UNSUPPORTED, LayerError, show
from secateur.core.graph.documents import layer_name, mapping, refuse, refuse_layer, string
from secateur.core.graph.layers import operation_of
from secateur.core.graph.nodes import Operand, Source

MODELS: Final = ("Functional", "Sequential", "Model")
"""Class names of models that are plain data."""
_OLD_NAMES: Final = {"LeakyReLU": {"alpha": "negative_slope"}}
"""Arguments that Keras 2 called otherwise."""
_FUNCTIONS: Final = ("keras.src.ops", "keras.ops")
"""Modules of the functions that a Functional model may call."""
_AUGMENTATIONS: Final = frozenset({"AugMix", "AutoContrast", "CutMix", "Equalization", "MixUp", "RandAugment"})
"""Layers that change training images, beside those that say so (`RandomFlip`)."""
_OPERATORS: Final = {"Add": "Add", "Subtract": "Subtract", "Multiply": "Multiply", "TrueDivide": "Divide", "Divide": "Divide"}
"""Arithmetic of Keras 3: `x + 3.0` in a Functional model becomes an operation of `keras.ops`."""
_OLD_OPERATORS: Final = {
    "__operators__.add": "Add",
    "math.add": "Add",
    "math.subtract": "Subtract",
    "math.multiply": "Multiply",
    "math.truediv": "Divide",
    "math.divide": "Divide",
}
"""Arithmetic of Keras 2."""
_ACTIVATION_LAYERS: Final = frozenset({"ReLU", "LeakyReLU", "ELU", "Softmax", "Activation"})
"""Layers without weights that may stand where a function does."""
_SCALED_SUM: Final = "CustomScaleLayer"
"""Layer of keras.applications.InceptionResNetV2: first input + scale x second input."""


@dataclass(frozen=True, slots=True)
class Record:
    """One layer of a model, as read.

    Args:
        name: Its name within its model.
        op: Keras class name, or arithmetic.
        config: Its arguments.
        arithmetic: Whether it takes numbers for operands as well as tensors.
        activation: The layer that its `activation` argument holds, if it is one.
    """

    name: str
    op: str
    config: Mapping[str, Any]
    arithmetic: bool = False
    activation: Record | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One operation that a call of a record turns into.

    Args:
        suffix: What is added to the record's name; the step without one gives the output.
        op: Keras class name.
        operands: What it takes; a `Source` with an empty layer is the step before.
        config: Its arguments.
    """

    suffix: str
    op: str
    operands: tuple[Source, ...]
    config: Mapping[str, Any]


BEFORE: Final = Source("")
"""The output of the step before."""


def name_of(record: Mapping[str, Any]) -> str:
    """Returns the name of a layer. Raises InvalidArgument ARCHITECTURE_MALFORMED."""
    config = record.get("config")
    inner = config.get("name") if isinstance(config, Mapping) else None
    return layer_name(record.get("name", inner))


def is_model(record: Mapping[str, Any]) -> bool:
    """Whether a layer is a whole model, Functional or Sequential."""
    return record.get("class_name") in MODELS and record.get("registered_name") in (None, *MODELS)


def read_record(record: Mapping[str, Any]) -> Record:
    """Reads a layer that is not a model.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED or LAYER_UNSUPPORTED, naming the layer.
    """
    name = name_of(record)
    kind, package, module = record.get("class_name"), record.get("registered_name"), record.get("module")
    config = record.get("config")
    own = isinstance(module, str) and module.startswith(_FUNCTIONS)
    if own and package in (None, kind) and isinstance(kind, str) and kind in _OPERATORS:
        return Record(name, _OPERATORS[kind], {}, arithmetic=True)
    if kind == "TFOpLambda" and isinstance(config, Mapping):
        function = config.get("function")
        if isinstance(function, str) and function in _OLD_OPERATORS:
            return Record(name, _OLD_OPERATORS[function], {}, arithmetic=True)
    if isinstance(module, str) and module.startswith("keras.src.applications.") and kind == package == _SCALED_SUM:
        return Record(name, _SCALED_SUM, mapping(config, f"The config of layer {show(name)}", name))
    _check_own(name, kind, package, module)
    op = operation(name, kind)
    arguments = dict(mapping(config, f"The config of layer {show(name)}", name))
    batch_shape = arguments.pop("batch_shape", None) or arguments.pop("batch_input_shape", None)
    if op == "InputLayer":
        arguments = _input_config(name, arguments, batch_shape)
    for old, new in _OLD_NAMES.get(op, {}).items():
        if old in arguments:
            arguments[new] = arguments.pop(old)
    return _with_activation(Record(name, op, arguments))


def steps_of(record: Record, operands: Sequence[Operand]) -> tuple[Step, ...]:
    """Returns the operations that one call of a layer turns into.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED or LAYER_UNSUPPORTED.
    """
    tensors = tuple(operand for operand in operands if isinstance(operand, Source))
    if record.arithmetic:
        return (_arithmetic(record, operands, tensors),)
    if len(tensors) < len(operands):
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(record.name)} takes something other than a layer's output. Received: {show(operands)}",
            layer=record.name,
        )
    if record.op == _SCALED_SUM:
        if len(tensors) != 2:
            raise refuse(MALFORMED, f"Layer {show(record.name)} takes 2 inputs. Received: {len(tensors)}", layer=record.name)
        scaling = Step(".scaled", "Rescaling", tensors[1:], {"scale": record.config.get("scale")})
        return scaling, Step("", "Add", (tensors[0], BEFORE), {})
    layer = Step("", record.op, tensors, record.config)
    if record.activation is None:
        return (layer,)
    return layer, Step(".activation", record.activation.op, (BEFORE,), record.activation.config)


def _arithmetic(record: Record, operands: Sequence[Operand], tensors: tuple[Source, ...]) -> Step:
    """Turns arithmetic with a number into a Rescaling, and arithmetic of tensors into a merge."""
    op = record.op
    if len(operands) != 2 or not tensors or (len(tensors) == 2 and op == "Divide"):
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(record.name)} ({op}) takes two tensors, or a tensor and a number. Received: {show(list(operands))}",
            layer=record.name,
        )
    if len(tensors) == 2:
        return Step("", op, tensors, {})
    first, second = operands
    number = second if isinstance(first, Source) else first
    assert not isinstance(number, Source), "of two operands one is a tensor"
    number_first = not isinstance(first, Source)
    if op == "Divide" and (number_first or number == 0):
        raise refuse(
            UNSUPPORTED, f"Layer {show(record.name)} divides by something other than a number, or by 0", layer=record.name
        )
    config: dict[str, Any] = {
        "Add": {"scale": 1.0, "offset": number},
        "Subtract": {"scale": -1.0, "offset": number} if number_first else {"scale": 1.0, "offset": -number},
        "Multiply": {"scale": number},
    }.get(op) or {"scale": 1 / number}
    return Step("", "Rescaling", tensors, config)


def _check_own(name: str, kind: Any, package: Any, module: Any) -> None:
    """Checks that a layer is one of Keras's own."""
    if isinstance(module, str) and ".models" in module:
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(name)} is a model that carries code; only Functional and Sequential models can be read. "
            f"Received: {show(kind)}",
            layer=name,
        )
    if kind in ("Lambda", "TFOpLambda", "SlicingOpLambda"):
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(name)} is a {kind}; code from clients is never run. Use one of Keras's own layers",
            layer=name,
        )
    if isinstance(kind, str) and (kind.startswith("Random") or kind in _AUGMENTATIONS) and module == "keras.layers":
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(name)} augments images; leave it out, as the recipe of a job does that (flip, crop, cutout). "
            f"Received: {show(kind)}",
            layer=name,
        )
    if isinstance(module, str) and module.startswith(_FUNCTIONS):
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(name)} is a function of keras.ops, of which only +, -, * and / can be read; use a layer of "
            f"keras.layers that does the same. Received: {show(kind)}",
            layer=name,
        )
    if package not in (None, kind) or module not in (None, "keras.layers"):
        raise refuse(
            UNSUPPORTED,
            f"Layer {show(name)} is a custom object, which would need your code here. "
            f"Received: {show(kind)} of {show(package or module)}",
            layer=name,
        )


def operation(name: str, kind: Any) -> str:
    """Returns the class name of a layer in our table. Raises InvalidArgument LAYER_UNSUPPORTED if it is not there."""
    op = string(kind, f"The class name of layer {show(name)}", name)
    try:
        operation_of(op)
    except LayerError as refusal:
        raise refuse_layer(refusal, name, show(op)) from None
    return op


def _with_activation(record: Record) -> Record:
    """Takes an activation that is a layer out of the arguments of another layer."""
    value = record.config.get("activation")
    if not isinstance(value, Mapping):
        return record
    kind = value.get("class_name")
    if not isinstance(kind, str) or kind not in _ACTIVATION_LAYERS:
        return record
    inner = {**mapping(value.get("config"), f"The activation of layer {show(record.name)}", record.name), "name": record.name}
    found = read_record({**value, "config": inner, "name": record.name})
    if record.op == "Activation":
        return found
    return replace(record, config={**record.config, "activation": "linear"}, activation=found)


def _input_config(name: str, config: Mapping[str, Any], batch_shape: Any) -> dict[str, Any]:
    for key in ("sparse", "ragged", "optional"):
        if config.get(key):
            raise refuse(UNSUPPORTED, f"Layer {show(name)} takes {key} tensors, which are not supported", layer=name)
    return {"shape": without_batch(name, "InputLayer", batch_shape)}


def without_batch(name: str, op: str, shape: Any) -> Any:
    """Returns a shape less its batch. Raises InvalidArgument ARCHITECTURE_MALFORMED."""
    if not isinstance(shape, list) or not shape:
        raise refuse_layer(LayerError(MALFORMED, f"needs a shape with the batch first. Received: {show(shape)}"), name, op)
    return shape[1:]
