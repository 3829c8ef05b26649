"""What is in a .tflite file: its operators, and each of them as a file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

_IDENTIFIER: Final = b"TFL3"
_ALIGNMENT: Final = 16
"""Bytes at whose multiples weights begin, as the schema demands. What is generated from it leaves that out."""
_VERSION: Final = 3
_OPERATORS: Final[dict[int, str]] = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_TYPES: Final = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a file.

    Args:
        name: Its name in the file format, for example "CONV_2D".
        output: Name of the tensor that it writes.
        output_shape: Shape of that tensor, batch included.
        file: A .tflite file of this operator alone, its weights included, and what widens those that are stored as float16. It
            takes the other tensors that the operator reads.
    """

    name: str
    output: str
    output_shape: tuple[int, ...]
    file: bytes


class _Buffer(schema.BufferT):  # type: ignore[misc]  # generated without types
    """Weights that begin where they should."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data = data.tobytes()

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 -- the name of what is generated
        builder.Prep(_ALIGNMENT, len(self.data))
        data = builder.CreateByteVector(self.data)
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        place: int = schema.BufferEnd(builder)
        return place


def model_of(file: bytes) -> Any:
    """Returns what is in a file, as objects of the schema's classes."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(file, 0))


def packed(model: Any) -> bytes:
    """Returns the file of such objects; `model` is not to be used any more."""
    model.buffers = [each if each.data is None else _Buffer(each.data) for each in model.buffers]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def name_of(model: Any, operator: Any) -> str:
    """Returns the name of an operator of a file that was read."""
    code = model.operatorCodes[operator.opcodeIndex]
    number: int = max(code.builtinCode, code.deprecatedBuiltinCode)
    return _OPERATORS[number]


def operator_names(file: bytes) -> tuple[str, ...]:
    """Returns the names of a file's operators in execution order, for example ("CONV_2D", "MEAN", "FULLY_CONNECTED")."""
    model = model_of(file)
    return tuple(name_of(model, operator) for operator in model.subgraphs[0].operators)


def tensors_at_the_ends(file: bytes) -> tuple[str, str]:
    """Returns what a file takes and what it returns, for people: "int8 1x8x8x1, real = 0.00392157 * (value - -128)"."""
    graph = model_of(file).subgraphs[0]
    given, returned = (graph.tensors[index[0]] for index in (graph.inputs, graph.outputs))
    return _described(given), _described(returned)


def operators_of(file: bytes) -> tuple[Operator, ...]:
    """Returns every operator of a file in execution order, but those that only widen weights: they run once, at the start."""
    model = model_of(file)
    graph = model.subgraphs[0]
    widened: dict[int, Any] = {}
    found = []
    for operator in graph.operators:
        if all(_is_constant(model, index) for index in operator.inputs):
            widened[operator.outputs[0]] = operator
            continue
        output = graph.tensors[operator.outputs[0]]
        before = [widened[index] for index in operator.inputs if index in widened]
        alone = _file_of(model, [*before, operator])
        found.append(Operator(name_of(model, operator), output.name.decode(), tuple(map(int, output.shape)), alone))
    return tuple(found)


def _described(tensor: Any) -> str:
    text = f"{_TYPES[tensor.type]} {'x'.join(map(str, tensor.shape))}"
    if tensor.quantization is None or tensor.quantization.scale is None:
        return text
    return f"{text}, real = {tensor.quantization.scale[0]:.9g} * (value - {tensor.quantization.zeroPoint[0]})"


def _is_constant(model: Any, index: int) -> bool:
    data = model.buffers[model.subgraphs[0].tensors[index].buffer].data
    return index < 0 or (data is not None and len(data) > 0)


def _file_of(model: Any, operators: list[Any]) -> bytes:
    """Returns a file of some operators, the last of which writes what the file returns."""
    used = list(dict.fromkeys(int(index) for each in operators for index in (*each.inputs, *each.outputs) if index >= 0))
    place = {index: position for position, index in enumerate(used)} | {-1: -1}
    graph = schema.SubGraphT()
    result = schema.ModelT()
    result.version, result.subgraphs, result.operatorCodes = _VERSION, [graph], model.operatorCodes
    result.buffers = [schema.BufferT()]  # the first is empty, by convention
    graph.tensors, graph.operators = [], []
    for index in used:
        tensor = _copied(model.subgraphs[0].tensors[index])
        data = model.buffers[tensor.buffer]
        tensor.buffer = 0
        if _is_constant(model, index):
            tensor.buffer = len(result.buffers)
            result.buffers.append(data)
        graph.tensors.append(tensor)
    for each in operators:
        operator = _copied(each)
        operator.inputs = [place[int(index)] for index in each.inputs]
        operator.outputs = [place[int(index)] for index in each.outputs]
        graph.operators.append(operator)
    written = {index for operator in graph.operators for index in operator.outputs}
    read = {index for operator in graph.operators for index in operator.inputs if index >= 0}
    graph.inputs = sorted(index for index in read - written if graph.tensors[index].buffer == 0)
    graph.outputs = graph.operators[-1].outputs
    return packed(result)


def _copied(record: Any) -> Any:
    """Returns a shallow copy: its fields are references to the same values."""
    copy = type(record)()
    vars(copy).update(vars(record))
    return copy
