"""What each layer becomes in a LiteRT file: its operators, what they take of file and arena, and their tensors in between.

The figures were fitted to files of the workers' own exporter (TensorFlow 2.21) and to the smallest arenas in which the
interpreter that measures them starts (tflite-micro of October 2026, 64-bit host). Where an operator has no int8 form, the
converter puts float32 between a pair of conversions, at four times the memory: that is where the wide tensors come from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final


class Extent(Enum):
    """What a tensor inside a layer has the shape of."""

    OUTPUT = auto()
    INPUT = auto()
    INNER = auto()
    """The output, with the channels between the two convolutions of a separable one."""
    POSITIONS = auto()
    """The output, with one channel."""


@dataclass(frozen=True, slots=True)
class Temporary:
    """A tensor or scratch buffer inside a layer.

    Args:
        width: Bytes per value.
        first: Step of the layer that writes it.
        last: Last step of the layer that reads it.
        extent: What it has the shape of.
        positions: Values per channel, if they are neither the output's nor the input's.
    """

    width: int
    first: int
    last: int
    extent: Extent = Extent.OUTPUT
    positions: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """Fixed price of the operators that one layer turns into, whatever its channels.

    Args:
        int8_bytes: Tables, names, alignment and padding of operators and tensors in the int8 file.
        float_bytes: The same in the float32 file.
        once: Of both, what is stored once per file: operator codes, constants that all layers of the kind share.
        arena_bytes: Options and prepared data in the persistent part of the arena.
        constants: Constant tensors.
        operators: Operators, each a step.
        reads: Last step that reads the layer's input.
        temporaries: Tensors between its operators.
    """

    int8_bytes: int
    float_bytes: int
    once: int = 0
    arena_bytes: int = 0
    constants: int = 0
    operators: int = 1
    reads: int = 0
    temporaries: tuple[Temporary, ...] = ()


def joined(first: Kind, second: Kind) -> Kind:
    """Returns the kind of a layer that does what `first` does, then what `second` does."""
    start = first.operators
    between = Temporary(1, start - 1, start + second.reads)
    later = (replace(each, first=each.first + start, last=each.last + start) for each in second.temporaries)
    return Kind(
        first.int8_bytes + second.int8_bytes,
        first.float_bytes + second.float_bytes,
        first.once + second.once,
        first.arena_bytes + second.arena_bytes,
        first.constants + second.constants,
        first.operators + second.operators,
        first.reads,
        (*first.temporaries, between, *later),
    )


KERNEL: Final = Kind(368, 292, arena_bytes=108, constants=2)
_DEPTHWISE: Final = replace(KERNEL, once=72)
FOLDED_NORMALIZATION: Final = Kind(44, 41, operators=0)
FOLDED_ACTIVATION: Final = Kind(10, 12, operators=0)
VALUEWISE: Final = Kind(136, 104, 32, arena_bytes=24)

_ADD: Final = Kind(148, 116, 32, arena_bytes=80)
_MULTIPLY: Final = replace(_ADD, arena_bytes=56)
_COMPARE: Final = replace(_ADD, arena_bytes=8)
_SCALE: Final = Kind(528, 388, 24, arena_bytes=136, constants=2, operators=2, temporaries=(Temporary(1, 0, 1),))
_POOL: Final = Kind(168, 136, 56, arena_bytes=72)
_REDUCE: Final = Kind(152, 120, 88, arena_bytes=65, constants=1)
_RESHAPE: Final = Kind(240, 208, 40, arena_bytes=32, constants=1)
_PAD: Final = Kind(160, 128, 120, arena_bytes=60, constants=1)
_CROP: Final = Kind(196, 162, 244, arena_bytes=108, constants=1)
_PERMUTE: Final = Kind(152, 116, 104, arena_bytes=32, constants=1)
_RESIZE: Final = Kind(236, 204, 28, arena_bytes=32, constants=1)
_SOFTMAX: Final = Kind(152, 120, 40, arena_bytes=80)
_SLOPED: Final = Kind(150, 118, 46, arena_bytes=40)
_SLOPES: Final = Kind(264, 194, 44, arena_bytes=8, constants=1)
_SILU: Final = Kind(292, 228, 46, arena_bytes=80, operators=2, reads=1, temporaries=(Temporary(1, 0, 1),))
_ELU: Final = Kind(170, 104, 80, arena_bytes=256)  # a table of 256 values
_SOFTSIGN: Final = Kind(
    472, 362, 140, arena_bytes=144, operators=3, reads=2, temporaries=(Temporary(1, 0, 1), Temporary(1, 1, 2))
)
_TANH_SHRINK: Final = Kind(292, 226, 68, arena_bytes=88, operators=2, reads=1, temporaries=(Temporary(1, 0, 1),))
_HARD_SHRINK: Final = Kind(
    548, 378, 172, arena_bytes=72, constants=2, operators=3, reads=2, temporaries=(Temporary(1, 0, 1), Temporary(1, 1, 2))
)
_SPARSE_SIGMOID: Final = Kind(
    1_100, 738, 380, arena_bytes=200, constants=5, operators=6, reads=2,
    temporaries=(
        Temporary(1, 0, 5), Temporary(1, 1, 4), Temporary(1, 2, 3), Temporary(1, 3, 4), Temporary(1, 4, 5),
    ),
)  # fmt: skip
_CLIPPED: Final = Kind(412, 278, 28, arena_bytes=32, constants=1, operators=2, temporaries=(Temporary(1, 0, 1),))
_THRESHOLD: Final = Kind(420, 290, 124, arena_bytes=40, constants=2, operators=2, reads=1, temporaries=(Temporary(1, 0, 1),))
_THRESHOLD_SLOPED: Final = Kind(
    884, 636, 308, arena_bytes=232, constants=3, operators=5, reads=2,
    temporaries=(Temporary(1, 0, 1), Temporary(1, 1, 4), Temporary(1, 2, 3), Temporary(1, 3, 4)),
)  # fmt: skip
_CLIPPED_SLOPED: Final = Kind(
    1_280, 740, 292, arena_bytes=448, constants=1, operators=7, reads=1,
    temporaries=(
        Temporary(4, 0, 2), Temporary(1, 1, 6), Temporary(4, 2, 3), Temporary(1, 3, 4), Temporary(1, 4, 5),
        Temporary(1, 5, 6),
    ),
)  # fmt: skip
_CLIPPED_THRESHOLD_SLOPED: Final = Kind(
    1_296, 914, 336, arena_bytes=264, constants=4, operators=7, reads=4,
    temporaries=(
        Temporary(1, 0, 1), Temporary(1, 1, 2), Temporary(1, 2, 3), Temporary(1, 3, 6), Temporary(1, 4, 5),
        Temporary(1, 5, 6),
    ),
)  # fmt: skip

_TRANSPOSED: Final = Kind(452, 378, 30, arena_bytes=108, constants=3, temporaries=(Temporary(4, 0, 0),))  # int32 sums
_SEPARABLE: Final = Kind(
    700, 470, 140, arena_bytes=216, constants=4, operators=2, temporaries=(Temporary(1, 0, 1, Extent.INNER),)
)
UNFOLD: Final = replace(_RESHAPE, int8_bytes=200, float_bytes=168, once=0)


def as_image(kind: Kind, *, padded: int, enters: bool, leaves: bool) -> Kind:
    """Returns what a layer over a sequence becomes: computed as an image of one row.

    Args:
        kind: The layer over images.
        padded: Steps of its input once the sequence is padded before; 0 if it is not.
        enters: Whether its input is still a sequence.
        leaves: Whether its output has to be one.
    """
    whole = replace(kind, once=kind.once + _RESHAPE.once)
    for part in ([UNFOLD] if enters else []) + ([_PAD] if padded else []):
        whole = joined(part, whole)
        received = replace(whole.temporaries[0], extent=Extent.INPUT, positions=padded)
        whole = replace(whole, temporaries=(received, *whole.temporaries[1:]))
    return joined(whole, UNFOLD) if leaves else whole


GROUP_NORMALIZATION: Final = Kind(
    2_720, 1_988, 560, arena_bytes=832, constants=2, operators=16,
    temporaries=(Temporary(1, 0, 11), Temporary(1, 3, 4), Temporary(1, 4, 7), Temporary(1, 11, 14), Temporary(1, 14, 15)),
)  # fmt: skip
_SQUARED: Final = (
    Temporary(1, 0, 1), Temporary(4, 1, 1, Extent.POSITIONS),
    *(Temporary(1, step, step + 1, Extent.POSITIONS) for step in (1, 2, 3)),
)  # fmt: skip
_RMS_NORMALIZATION: Final = Kind(
    1_010, 834, 275, arena_bytes=376, constants=1, operators=6, reads=4, temporaries=(*_SQUARED, Temporary(1, 4, 5))
)
_UNIT_NORMALIZATION: Final = Kind(816, 588, 245, arena_bytes=248, operators=5, reads=4, temporaries=_SQUARED)

KINDS: Final = {
    "Conv1D": KERNEL,
    "Conv2D": KERNEL,
    "Conv1DTranspose": _TRANSPOSED,
    "Conv2DTranspose": _TRANSPOSED,
    "DepthwiseConv1D": _DEPTHWISE,
    "DepthwiseConv2D": _DEPTHWISE,
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "Dense": KERNEL,
    "BatchNormalization": _SCALE,
    "Normalization": _SCALE,
    "Rescaling": _SCALE,
    "RMSNormalization": _RMS_NORMALIZATION,
    "UnitNormalization": _UNIT_NORMALIZATION,
    "Add": _ADD,
    "Subtract": _ADD,
    "Multiply": _MULTIPLY,
    "Maximum": _COMPARE,
    "Minimum": _COMPARE,
    "Average": Kind(436, 320, 40, arena_bytes=160, constants=1),
    "Concatenate": _ADD,
    **{f"{prefix}{kind}Pooling{rank}D": price for kind in ("Max", "Average") for rank in (1, 2)
       for prefix, price in (("", _POOL), ("Global", _REDUCE))},
    "Flatten": _RESHAPE,
    "Reshape": _RESHAPE,
    "Permute": _PERMUTE,
    "ZeroPadding1D": _PAD,
    "ZeroPadding2D": _PAD,
    "Cropping1D": _CROP,
    "Cropping2D": _CROP,
    "UpSampling1D": _RESIZE,
    "UpSampling2D": _RESIZE,
    "Softmax": _SOFTMAX,
    "ELU": _ELU,
    "LeakyReLU": _SLOPED,
    "PReLU": _SLOPES,
}  # fmt: skip
"""By layer. Layers that are not listed work value by value."""
ACTIVATIONS: Final = {
    "elu": _ELU,
    "gelu": Kind(164, 134, 20, arena_bytes=40),
    "hard_sigmoid": Kind(176, 146, 120, arena_bytes=56),
    "hard_shrink": _HARD_SHRINK,
    "hard_silu": _SLOPED,
    "leaky_relu": _SLOPED,
    "mish": Kind(756, 582, 170, arena_bytes=120, operators=5),
    "selu": Kind(956, 766, 400, arena_bytes=144, operators=6),
    "silu": _SILU,
    "softmax": _SOFTMAX,
    "softplus": Kind(468, 358, 130, arena_bytes=72, operators=3),
    "softsign": _SOFTSIGN,
    "sparse_sigmoid": _SPARSE_SIGMOID,
    "squareplus": Kind(612, 526, 200, arena_bytes=172, operators=4),
    "tanh_shrink": _TANH_SHRINK,
    "ReLU, clipped": _CLIPPED,
    "ReLU, clipped, sloped": _CLIPPED_SLOPED,
    "ReLU, threshold": _THRESHOLD,
    "ReLU, clipped, threshold": joined(_THRESHOLD, _CLIPPED),
    "ReLU, sloped, threshold": _THRESHOLD_SLOPED,
    "ReLU, clipped, sloped, threshold": _CLIPPED_THRESHOLD_SLOPED,
}
"""By activation. Activations that are not listed are one operator that works value by value."""
