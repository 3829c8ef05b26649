"""Networks pruned by half with their weights, held against the unpruned one with the cut channels at zero."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np

from secateur.core.graph import LayerGraph, channel_groups, zoo
from secateur.core.graph.indices import channel_origins
from secateur.core.planning.hybrid_scores import kept_channels
from secateur.core.specs import Criterion
from secateur.workers.engine.criteria import channel_scores
from secateur.workers.engine.inherit import inherit
from tests.support.applications import application, read
from tests.support.masking import masked_outputs

SHAPE: Final = (32, 32, 3)
IMAGES: Final = np.random.default_rng(1).normal(size=(2, *SHAPE)).astype(np.float32)
TOLERANCE: Final = 1e-5
FULL: Final[dict[str, Callable[[], LayerGraph]]] = {
    "vgg16": lambda: zoo.build("vgg16", SHAPE, 10),
    "resnet56": lambda: zoo.build("resnet56", SHAPE, 10),
    "mobilenetv2": lambda: zoo.build("mobilenetv2", SHAPE, 10),
    "densenet121": lambda: read(application("DenseNet121", classifier_activation=None)),
}
"""Networks of full size on small images, with logits at the end."""


@dataclass(frozen=True)
class Inherited:
    """A pruned network beside the masked one.

    Args:
        error: Largest difference of any output, as a share of the largest output.
        spread: Largest range of an output over the images, likewise; without any, a small error would say nothing.
        kept: Share of the parameters that stays.
    """

    error: float
    spread: float
    kept: float

    @property
    def right(self) -> bool:
        """Whether the two networks compute the same, and something that depends on the image."""
        return self.error <= TOLERANCE and self.spread > 100 * TOLERANCE and self.kept < 0.6


def inherited_half(graph: LayerGraph, model: keras.Model, criterion: Criterion) -> Inherited:
    """Prunes a network to half of its channels by a criterion and compares it with the masked network."""
    widths = _half(graph, criterion)
    height, width, _ = graph.input_shape
    images = IMAGES[:, :height, :width]
    kept = kept_channels(channel_scores(criterion, model, graph, widths, images=images), widths)
    expected = masked_outputs(model, graph, kept, images)
    pruned = inherit(model, graph, kept)
    largest = np.abs(expected).max()
    return Inherited(
        error=float(np.abs(pruned(images) - expected).max() / largest),
        spread=float(np.ptp(expected, axis=0).max() / largest),
        kept=pruned.count_params() / model.count_params(),
    )


def _half(graph: LayerGraph, criterion: Criterion) -> dict[str, int]:
    """Half of the channels of every group that the criterion can tell apart, streams of residual networks included."""
    widths = {group.name: group.width // 2 for group in channel_groups(graph, residual="coupled") if group.prunable}
    if criterion is not Criterion.BATCH_NORM_SCALE:
        return widths
    origins = channel_origins(graph)
    scaled = {group for layer in graph if layer.op == "BatchNormalization" for group, _ in filter(None, origins[layer.name])}
    return {name: width for name, width in widths.items() if name in scaled}
