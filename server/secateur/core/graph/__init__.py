"""Networks as layer graphs: reading, checking, shapes, channel groups and rewriting. No framework."""

from secateur.core.graph import zoo
from secateur.core.graph.convertible import check_convertible
from secateur.core.graph.groups import ChannelGroup, Residual, channel_groups, check_prunable
from secateur.core.graph.ir import Layer, LayerGraph, Shape
from secateur.core.graph.reader import from_data, read_keras_json
from secateur.core.graph.rewrite import with_widths

__all__ = [
    "ChannelGroup",
    "Layer",
    "LayerGraph",
    "Residual",
    "Shape",
    "channel_groups",
    "check_convertible",
    "check_prunable",
    "from_data",
    "read_keras_json",
    "with_widths",
    "zoo",
]
