"""The same network with other widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from secateur.core.errors import InvalidArgument
from secateur.core.graph import layers
from secateur.core.graph.arguments import LayerError, show
from secateur.core.graph.documents import refuse_layer
from secateur.core.graph.groups import ChannelGroup, channel_groups
from secateur.core.graph.ir import LayerGraph, Shape
from secateur.core.graph.table import OPERATIONS


def with_widths(graph: LayerGraph, widths: Mapping[str, int]) -> LayerGraph:
    """Returns the network with narrower layers; every consumer follows.

    Args:
        graph: Network to change; it stays as it is.
        widths: New number of channels by layer. Naming one producer of a channel group sets the whole group, so a group's
            name will do. Groups that `residual="skip"` keeps may be named, too.

    Raises:
        InvalidArgument: WIDTH_INVALID for a layer that sets no width, a group that may not change, a width outside
            1 to the present one, or two widths for one group.
    """
    chosen = _widths_by_producer(channel_groups(graph, residual="coupled"), widths)
    shapes: dict[str, Shape] = {}
    changed = []
    for layer in graph:
        received = [shapes[producer] for producer in layer.inputs]
        config = dict(layer.config)
        if layer.name in chosen:
            config[OPERATIONS[layer.op].produces] = chosen[layer.name]
        elif layer.op == "Reshape" and config["target_shape"][-1] == graph.input_shapes(layer.name)[0][-1]:
            config["target_shape"] = [*config["target_shape"][:-1], received[0][-1]]  # it names the channels it passes on
        try:
            shapes[layer.name] = layers.infer(layer.op, config, received)
        except LayerError as refusal:
            raise refuse_layer(refusal, layer.name, layer.op) from None
        changed.append(replace(layer, config=config, output_shape=shapes[layer.name]))
    return replace(graph, layers=tuple(changed))


def _widths_by_producer(groups: tuple[ChannelGroup, ...], widths: Mapping[str, int]) -> dict[str, int]:
    group_of = {producer: group for group in groups for producer in group.producers}
    chosen: dict[str, int] = {}
    for name, width in widths.items():
        group = group_of.get(name)
        if group is None:
            raise _invalid(name, f"Only layers that set a number of channels can get a width. Received: {show(name)}")
        if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= group.width:
            raise _invalid(
                name, f"The width of {name!r} must be a whole number from 1 to {group.width}. Received: {show(width)}"
            )
        if width != group.width and not group.prunable:
            raise _invalid(name, f"The width of {name!r} may not change: {group.reason}. Received: {width}")
        for producer in group.producers:
            if chosen.setdefault(producer, width) != width:
                raise _invalid(
                    name,
                    f"Layers {name!r} and {producer!r} share their channels. Received: widths {width} and {chosen[producer]}",
                )
    return chosen


def _invalid(name: str, message: str) -> InvalidArgument:
    return InvalidArgument("WIDTH_INVALID", message, field=name[:128])
