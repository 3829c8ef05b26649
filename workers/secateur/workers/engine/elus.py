"""ELU in int8: interpreters compute it from a table of 256 values, but the converter only knows it in float32.

It puts ELU between a pair of conversions, at four times the memory. What shares a scale with it, such as a concatenation, then
stays in float32 too, and convolutions beside it with float32 weights. So `export` puts an operator behind every ELU that
changes nothing, but that the converter knows in int8 and gives a scale of its own; here the four of them become one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from secateur.workers.engine.operators import model_of, name_of, packed

SLOPE: Final = float(np.nextafter(np.float32(1), np.float32(0)))
"""Slope of the leaky ReLU behind every ELU: the converter would leave out one of 1."""

_STEPS: Final = ["DEQUANTIZE", "ELU", "QUANTIZE", "LEAKY_RELU"]


def with_int8_elus(file: bytes) -> bytes:
    """Returns a .tflite file in which ELU and what was put behind it are one int8 operator.

    Args:
        file: An int8 file.
    """
    model = model_of(file)
    graph = model.subgraphs[0]
    writers = {int(operator.outputs[0]): operator for operator in graph.operators}
    for last in graph.operators:
        steps = [last]
        while len(steps) < len(_STEPS) and (before := writers.get(int(steps[0].inputs[0]))) is not None:
            steps.insert(0, before)
        if [name_of(model, step) for step in steps] == _STEPS and last.builtinOptions.alpha == SLOPE:
            first, elu, *_ = steps
            last.opcodeIndex, last.builtinOptionsType, last.builtinOptions = elu.opcodeIndex, 0, None  # ELU has none
            last.inputs = first.inputs
    _drop_unread(model, graph)
    return packed(model)


def _drop_unread(model: Any, graph: Any) -> None:
    """Removes operators that nothing depends on, their codes, and the tensors that are left: they would take memory."""
    read_later = set(map(int, graph.outputs))
    kept: list[Any] = []
    for operator in reversed(graph.operators):
        if not read_later.isdisjoint(map(int, operator.outputs)):
            kept.insert(0, operator)
            read_later.update(map(int, operator.inputs))
    graph.operators = kept

    codes = sorted({operator.opcodeIndex for operator in kept})
    model.operatorCodes = [model.operatorCodes[code] for code in codes]
    used = sorted((read_later | set(map(int, graph.inputs))) - {-1})
    graph.tensors = [graph.tensors[index] for index in used]
    place = {index: position for position, index in enumerate(used)} | {-1: -1}
    for each in (graph, *kept):
        each.inputs, each.outputs = ([place[int(index)] for index in side] for side in (each.inputs, each.outputs))
    for operator in kept:
        operator.opcodeIndex = codes.index(operator.opcodeIndex)
    for signature in model.signatureDefs or []:
        for end in (*signature.inputs, *signature.outputs):
            end.tensorIndex = place[end.tensorIndex]
