"""One layer call at a time: its arguments in normal form, its output shape, its size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from secateur.core.graph import arguments as args
from secateur.core.graph.arguments import REQUIRED, LayerError
from secateur.core.graph.ir import Shape
from secateur.core.graph.table import MAX_ELEMENTS, OPERATIONS, TRAINING_ONLY, Operation


def normalise(op: str, config: Mapping[str, Any], inputs: Sequence[Shape]) -> tuple[dict[str, Any], Shape]:
    """Checks the arguments of a layer call and infers its output.

    Args:
        op: Keras class name.
        config: Arguments as received.
        inputs: Shapes that the layer receives.

    Returns:
        The arguments in normal form, every default filled in, and the output shape.

    Raises:
        LayerError: If the layer or an argument is not supported, wrong, or too large.
    """
    operation = operation_of(op)
    fewest, most = operation.inputs
    if not fewest <= len(inputs) <= most:
        raise LayerError(args.MALFORMED, f"takes {_count(fewest, most)}. Received: {len(inputs)}")
    parsed = _parse(operation, config)
    _check_together(op, parsed, inputs)
    return parsed, infer(op, parsed, inputs)


def infer(op: str, config: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
    """Returns the output shape of a layer whose arguments are in normal form.

    Raises:
        LayerError: If the inputs do not fit the layer or the output is too large.
    """
    output = OPERATIONS[op].infer(config, inputs)
    if math.prod(output) > MAX_ELEMENTS:
        raise LayerError(
            args.TOO_LARGE, f"would return more than {MAX_ELEMENTS} values. Received: shape {args.show(list(output))}"
        )
    return output


def operation_of(op: str) -> Operation:
    """Returns the table's row for a Keras class name. Raises LayerError if there is none."""
    if op not in OPERATIONS:
        raise LayerError(args.UNSUPPORTED, f"is of a kind that is not supported. Supported: {', '.join(sorted(OPERATIONS))}")
    return OPERATIONS[op]


def kernel_values(op: str, config: Mapping[str, Any], inputs: Sequence[Shape]) -> int:
    """Returns about how many values a layer's kernels hold, rather too many, to refuse absurd networks by."""
    if "kernel_size" not in config and op != "Dense":
        return 0
    window, channels = math.prod(config.get("kernel_size", ())), inputs[0][-1]
    inner = channels * config.get("depth_multiplier", 1)
    if op.startswith("Depthwise"):
        return int(window * inner)
    filters = config[OPERATIONS[op].produces]
    return int(window * inner + inner * filters) if op.startswith("Separable") else int(window * channels * filters)


def _count(fewest: int, most: int) -> str:
    if fewest == most:
        return f"{fewest} input" if fewest == 1 else f"{fewest} inputs"
    return f"{fewest} to {most} inputs"


def _parse(operation: Operation, config: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in config.items():
        if key not in operation.arguments and key not in TRAINING_ONLY and value not in (None, False):
            raise LayerError(
                args.UNSUPPORTED, f"has an argument that is not supported. Received: {args.show(key)}={args.show(value)}"
            )
    parsed = {}
    for name, argument in operation.arguments.items():
        value = config.get(name)
        if value is None:  # Keras, too, takes null for "the default"
            value = argument.default
        if value is REQUIRED:
            raise LayerError(args.MALFORMED, f"needs the argument {name}")
        try:
            value = argument.parse(value)
        except LayerError as refusal:
            raise LayerError(refusal.reason, f"is wrong: {name} {refusal.text}") from None
        if argument.kept:
            parsed[name] = value
    return parsed


def _check_together(op: str, config: dict[str, Any], inputs: Sequence[Shape]) -> None:
    """Checks what concerns several arguments, or arguments and inputs, and fills in what follows from others."""
    if "axis" in config:
        config["axis"] = _axis(op, config["axis"], len(inputs[0]))
    if "pool_size" in config and config["strides"] is None:
        config["strides"] = list(config["pool_size"])
    strides, dilation = config.get("strides", [1]), config.get("dilation_rate", [1])
    if max(strides) > 1 and max(dilation) > 1:
        raise LayerError(
            args.UNSUPPORTED, f"may not be both strided and dilated. Received: strides={strides}, dilation_rate={dilation}"
        )
    check = _CHECKS.get(op)
    if check:
        check(config, inputs)


def _axis(op: str, axis: int | list[int], rank: int) -> int | list[int]:
    """Returns an axis counted from the batch, but -1 for the channels."""
    if axis == [] and op == "Normalization":
        return []  # one mean for everything
    if isinstance(axis, list):
        positive = sorted({each if each >= 0 else rank + 1 + each for each in axis})
        if op != "LayerNormalization" or not positive or positive[-1] != rank or positive[0] < 1:
            raise LayerError(args.UNSUPPORTED, f"must work along the channels, axis -1. Received: axis={axis}")
        return positive if len(positive) > 1 else -1
    if axis in (-1, rank):
        return -1
    if op != "Concatenate" or not -rank <= axis < rank or axis == 0:
        raise LayerError(args.UNSUPPORTED, f"must work along the channels, axis -1. Received: axis={axis}")
    return axis if axis > 0 else rank + 1 + axis


def _equal_strides(config: dict[str, Any], _: Sequence[Shape]) -> None:
    if len(set(config["strides"])) > 1:
        raise LayerError(args.UNSUPPORTED, f"needs equal strides in both directions. Received: strides={config['strides']}")


def _output_padding(config: dict[str, Any], _: Sequence[Shape]) -> None:
    extra = config["output_padding"]
    if extra and any(added >= stride for added, stride in zip(extra, config["strides"], strict=True)):
        raise LayerError(args.MALFORMED, f"needs an output_padding below its strides. Received: {extra}")


def _whole_groups(config: dict[str, Any], inputs: Sequence[Shape]) -> None:
    groups = config["groups"]
    if groups == 0 or (groups > 0 and inputs[0][-1] % groups):
        raise LayerError(args.MALFORMED, f"has {groups} groups, which must divide its {inputs[0][-1]} channels")


def _statistics(config: dict[str, Any], inputs: Sequence[Shape]) -> None:
    mean, variance = config["mean"], config["variance"]
    sizes = [len(item) if isinstance(item, list) else item if item is None else 1 for item in (mean, variance)]
    if sizes[0] != sizes[1] or (config["axis"] == [] and isinstance(mean, list)):
        raise LayerError(args.MALFORMED, "needs a mean and a variance of the same size, or neither")
    _per_channel({"mean": mean if mean is not None else 0.0}, inputs)


def _per_channel(config: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
    for name, value in config.items():
        if isinstance(value, list) and len(value) != inputs[0][-1]:
            raise LayerError(
                args.MALFORMED, f"needs one {name} per channel, that is {inputs[0][-1]}. Received: {len(value)} values"
            )


def _shared_axes(config: dict[str, Any], inputs: Sequence[Shape]) -> None:
    axes = config["shared_axes"]
    if axes is None or axes == []:
        config["shared_axes"] = None
        return
    axes = sorted({axes} if isinstance(axes, int) else set(axes))
    if axes[0] < 1 or axes[-1] > len(inputs[0]):
        raise LayerError(args.MALFORMED, f"has shared axes from 1 to {len(inputs[0])}. Received: {axes}")
    config["shared_axes"] = axes


_CHECKS: Final[Mapping[str, Callable[[dict[str, Any], Sequence[Shape]], None]]] = {
    "Conv1DTranspose": _output_padding,
    "Conv2DTranspose": _output_padding,
    "DepthwiseConv2D": _equal_strides,
    "GroupNormalization": _whole_groups,
    "Normalization": _statistics,
    "PReLU": _shared_axes,
    "Rescaling": _per_channel,
    "SeparableConv2D": _equal_strides,
}
"""What else must hold for some layers."""
