"""Channels-first networks as the same networks with channels last.

Only the order of axes changes: shapes, kernels and costs are the same, so a network is designed once for all devices. A
flattened feature map does list its values in another order, but a dense layer behind it learns equally well from either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from secateur.core.graph.arguments import UNSUPPORTED, LayerError, show
from secateur.core.graph.documents import refuse_layer
from secateur.core.graph.ir import Shape
from secateur.core.graph.table import MERGES

FIRST: Final = "channels_first"
LAST: Final = "channels_last"
_OWN_WAY: Final = frozenset({"ZeroPadding2D", "Flatten"})
"""Layers whose layout may differ from the network's: `ZeroPadding2D` pads channels that way (ResNet's option A), and `Flatten`
has no layout to keep."""
_BLIND: Final = MERGES | {
    "Activation", "ActivityRegularization", "AlphaDropout", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "Identity",
    "LeakyReLU", "ReLU",
}  # fmt: skip
"""Layers that treat all axes alike."""


def is_channels_first(layers: Iterable[tuple[str, str, Mapping[str, Any]]]) -> bool:
    """Whether a network is written with channels first.

    Args:
        layers: Name, op and configuration of every layer.

    Raises:
        InvalidArgument: LAYER_UNSUPPORTED, naming the first layer that disagrees with those before it.
    """
    layout = ""
    for name, op, config in layers:
        own = config.get("data_format")
        if op in _OWN_WAY or own not in (FIRST, LAST):
            continue
        layout = layout or own
        if own != layout:
            text = f"is {own} in a network that is {layout}; use one layout throughout"
            raise refuse_layer(LayerError(UNSUPPORTED, text), name, op)
    return layout == FIRST


def channels_last(op: str, config: Mapping[str, Any], inputs: Sequence[Shape]) -> dict[str, Any]:
    """Returns the arguments of a channels-first layer for tensors with channels last.

    Args:
        op: Keras class name.
        config: Arguments as received.
        inputs: Shapes that the layer receives, channels last.

    Raises:
        LayerError: If the layer cannot be turned.
    """
    turned = dict(config)
    if turned.get("data_format") == FIRST:
        turned["data_format"] = LAST
    elif op == "ZeroPadding2D":
        raise _stuck(op)
    if op == "InputLayer":
        turned["shape"] = _turned(config["shape"])
    rank = max((len(shape) for shape in inputs), default=1)
    if rank == 1:
        return _grown(turned) if op == "Reshape" else turned
    if op == "Reshape":
        turned["target_shape"] = _flat_or_stuck(config.get("target_shape"), inputs[0])
    elif op == "PReLU":
        turned["shared_axes"] = [_axis(axis, rank) for axis in _listed(config.get("shared_axes"))] or None
    elif "axis" in turned:
        axes = [_axis(axis, rank) for axis in _listed(config["axis"])]
        turned["axis"] = axes[0] if len(axes) == 1 else axes
    elif "data_format" not in turned and op not in _BLIND:
        raise _stuck(op)
    return turned


def _turned(shape: Any) -> Any:
    return [*shape[1:], shape[0]] if isinstance(shape, list) and len(shape) > 1 else shape


def _grown(config: dict[str, Any]) -> dict[str, Any]:
    """A vector of channels becomes a feature map of one position, as in squeeze and excitation."""
    target = config.get("target_shape")
    if not isinstance(target, list) or any(size != 1 for size in target[1:]):
        raise _stuck("Reshape")
    return {**config, "target_shape": _turned(target)}


def _flat_or_stuck(target: Any, received: Shape) -> Any:
    if not isinstance(target, list) or (len(target) > 1 and any(size != 1 for size in (*target[1:], *received[:-1]))):
        raise _stuck("Reshape")
    return _turned(target)


def _listed(axes: Any) -> list[Any]:
    return [] if axes is None else list(axes) if isinstance(axes, list | tuple) else [axes]


def _axis(axis: Any, rank: int) -> int:
    """Axis 1 holds the channels and becomes the last; the others move up."""
    if isinstance(axis, bool) or not isinstance(axis, int) or not (1 <= axis <= rank or -rank <= axis < 0):
        raise LayerError(UNSUPPORTED, f"has an axis that is not there. Received: {show(axis)}")
    positive = axis if axis > 0 else rank + 1 + axis
    return -1 if positive == 1 else positive - 1


def _stuck(op: str) -> LayerError:
    return LayerError(
        UNSUPPORTED,
        f"cannot be turned from channels_first to channels_last; build the model with channels last. Received: {op}",
    )
