"""The int8 file as C++ source for TensorFlow Lite Micro: one header with everything that a firmware needs to run it."""

from __future__ import annotations

import re
from typing import Final

from secateur.workers.engine.operators import operator_names, tensors_at_the_ends

_COLUMNS: Final = 120
_ARRAY: Final = re.compile(r"kModel\[\] = \{([^}]*)\};")
_IRREGULAR: Final = {"BATCH_MATMUL": "BatchMatMul", "CUMSUM": "CumSum", "PADV2": "PadV2"}
"""Operators whose method of the resolver does not follow from their name."""

_HEADER: Final = """\
// A model for TensorFlow Lite Micro. Made by Secateur; do not edit.
//
// Input:  {input}
// Output: {output}
//
//   alignas(16) static uint8_t arena[secateur_model::kArenaBytes];
//   static secateur_model::OpResolver resolver;
//   secateur_model::AddOperators(resolver);
//   static tflite::MicroInterpreter interpreter(tflite::GetModel(secateur_model::kModel), resolver, arena, sizeof(arena));
//   interpreter.AllocateTensors();
#ifndef SECATEUR_MODEL_H_
#define SECATEUR_MODEL_H_

#include <cstddef>

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace secateur_model {{

// Smallest arena in which the interpreter starts with its reference kernels, measured on a 64-bit machine. Optimised kernels
// (CMSIS-NN, ESP-NN) may ask for scratch buffers on top; a start that fails says by how much.
constexpr std::size_t kArenaBytes = {arena};

constexpr std::size_t kModelBytes = {size};

using OpResolver = tflite::MicroMutableOpResolver<{count}>;

// Registers the operators that the model uses and no others, so that the linker leaves out every other kernel.
inline TfLiteStatus AddOperators(OpResolver& resolver) {{
{calls}
  return kTfLiteOk;
}}

alignas(16) inline constexpr unsigned char kModel[] = {{
{array}
}};

static_assert(sizeof(kModel) == kModelBytes, "the array is the whole file");

}}  // namespace secateur_model

#endif  // SECATEUR_MODEL_H_
"""


def write_c_source(int8: bytes, arena_bytes: int) -> bytes:
    """Returns a C++17 header with the file as an array, its arena and its operators.

    Args:
        int8: Bytes of the int8 .tflite file.
        arena_bytes: Size of the arena to declare.
    """
    names = sorted(set(operator_names(int8)))
    given, returned = tensors_at_the_ends(int8)
    text = _HEADER.format(
        input=given,
        output=returned,
        arena=arena_bytes,
        size=len(int8),
        count=len(names),
        calls="\n".join(f"  if (resolver.{_method(name)}() != kTfLiteOk) return kTfLiteError;" for name in names),
        array=_wrapped(int8),
    )
    return text.encode()


def read_c_source(source: bytes) -> bytes:
    """Returns the file that a header of `write_c_source` holds."""
    match = _ARRAY.search(source.decode())
    assert match, "the header holds the array"
    return bytes(map(int, match[1].split(",")))


def _method(operator: str) -> str:
    """Returns the method of MicroMutableOpResolver that registers an operator: "CONV_2D" has AddConv2D."""
    return "Add" + _IRREGULAR.get(operator, "".join(map(_camel, operator.split("_"))))


def _camel(part: str) -> str:
    return part if part[0].isdigit() else part.capitalize()  # "2D" stays what it is


def _wrapped(data: bytes) -> str:
    """Returns the bytes as decimal numbers in lines of at most `_COLUMNS` characters."""
    per_line = _COLUMNS // len("255,")
    lines = (data[start : start + per_line] for start in range(0, len(data), per_line))
    return "\n".join(",".join(map(str, line)) + "," for line in lines).removesuffix(",")
