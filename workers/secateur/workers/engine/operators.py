"""What is in a .tflite file: its operators, and each of them as a file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

_IDENTIFIER: Final = b"TFL3"
_VERSION: Final = 3
_OPERATORS: Final = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_TYPES: Final = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a file.

    Args:
        name: Its name in the file format, for example "CONV_2D".
        output: Name of the tensor that it writes.
        output_shape: Shape of that tensor, batch included.
        file: A .tflite file of this operator alone, its weights included. It takes the tensors that the operator reads.
    """

    name: str
    output: str
    output_shape: tuple[int, ...]
    file: bytes


def operator_names(file: bytes) -> tuple[str, ...]:
    """Returns the names of a file's operators in execution order, for example ("CONV_2D", "MEAN", "FULLY_CONNECTED")."""
    model = _read(file)
    return tuple(_name(model, operator) for operator in model.subgraphs[0].operators)


def tensors_at_the_ends(file: bytes) -> tuple[str, str]:
    """Returns what a file takes and what it returns, for people: "int8 1x8x8x1, real = 0.00392157 * (value - -128)"."""
    graph = _read(file).subgraphs[0]
    given, returned = (graph.tensors[index[0]] for index in (graph.inputs, graph.outputs))
    return _described(given), _described(returned)


def operators_of(file: bytes) -> tuple[Operator, ...]:
    """Returns every operator of a file in execution order."""
    model = _read(file)
    graph = model.subgraphs[0]
    return tuple(
        Operator(
            _name(model, operator),
            graph.tensors[operator.outputs[0]].name.decode(),
            tuple(map(int, graph.tensors[operator.outputs[0]].shape)),
            _alone(model, operator),
        )
        for operator in graph.operators
    )


def _read(file: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(file, 0))


def _name(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    return _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _described(tensor: Any) -> str:
    text = f"{_TYPES[tensor.type]} {'x'.join(map(str, tensor.shape))}"
    if tensor.quantization is None or tensor.quantization.scale is None:
        return text
    return f"{text}, real = {tensor.quantization.scale[0]:.9g} * (value - {tensor.quantization.zeroPoint[0]})"


def _alone(model: Any, operator: Any) -> bytes:
    graph = model.subgraphs[0]
    used = list(dict.fromkeys(int(index) for index in (*operator.inputs, *operator.outputs) if index >= 0))
    place = {index: position for position, index in enumerate(used)} | {-1: -1}
    buffers = [schema.BufferT()]  # the first is empty, by convention
    tensors = []
    for index in used:
        tensor = _copied(graph.tensors[index])
        data = model.buffers[tensor.buffer]
        tensor.buffer = 0
        if data.data is not None and len(data.data):
            tensor.buffer = len(buffers)
            buffers.append(data)
        tensors.append(tensor)
    lone = _copied(operator)
    lone.opcodeIndex = 0
    lone.inputs = [place[int(index)] for index in operator.inputs]
    lone.outputs = [place[int(index)] for index in operator.outputs]
    only = schema.SubGraphT()
    only.tensors, only.operators = tensors, [lone]
    only.inputs = sorted({index for index in lone.inputs if index >= 0 and tensors[index].buffer == 0})
    only.outputs = lone.outputs
    result = schema.ModelT()
    result.version = _VERSION
    result.operatorCodes = [model.operatorCodes[operator.opcodeIndex]]
    result.subgraphs, result.buffers = [only], buffers
    builder = flatbuffers.Builder()
    builder.Finish(result.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _copied(record: Any) -> Any:
    """Returns a shallow copy: its fields are references to the same values."""
    copy = type(record)()
    vars(copy).update(vars(record))
    return copy
