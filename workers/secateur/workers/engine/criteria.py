"""Scores of channels under a criterion, from a trained model. Which channels and blocks then go is the core's decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from secateur.core.errors import InvalidArgument
from secateur.core.graph import ChannelGroup, LayerGraph, channel_groups
from secateur.core.graph.indices import channel_origins
from secateur.core.planning.hybrid_scores import check_scales, random_scores
from secateur.core.specs import Criterion

_FLOAT = NDArray[np.floating[Any]]
_BATCH: Final = 32
_FILTER_AXIS: Final[Mapping[str, int]] = {"Conv1DTranspose": -2, "Conv2DTranspose": -2}
"""Axis of a kernel along its filters, where it is not the last."""
_PASSES: Final = frozenset({"BatchNormalization", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU"})
"""Layers that finish a feature map before it is looked at."""


def channel_scores(
    criterion: Criterion,
    model: keras.Model,
    graph: LayerGraph,
    groups: Iterable[str],
    *,
    images: NDArray[np.float32] | None = None,
    seed: int = 0,
) -> dict[str, tuple[float, ...]]:
    """Scores the channels of channel groups; the higher, the more the network needs the channel.

    A channel that several layers produce gets the mean of its scores there. Scores are comparable within one criterion only.

    Args:
        criterion: What makes a channel worth keeping.
        model: Trained model whose layers have the names of the graph's.
        graph: The unpruned network.
        groups: Names of the groups to score.
        images: A few batches of inputs, of shape (n, rows, columns, channels); for feature-map rank.
        seed: Seed of random scores.

    Returns:
        One score per channel, by group. The same arguments give the same scores.

    Raises:
        InvalidArgument: CRITERION_UNSUITABLE, if a group has no batch normalisation with a scale, or there are no images.
    """
    wanted = set(groups)
    chosen = [group for group in channel_groups(graph) if group.name in wanted]
    match criterion:
        case Criterion.WEIGHT_L1:
            found = _over_producers(chosen, {name: _norms(model, graph, name, order=1) for name in _producers(chosen)})
        case Criterion.WEIGHT_L2:
            found = _over_producers(chosen, {name: _norms(model, graph, name, order=2) for name in _producers(chosen)})
        case Criterion.BATCH_NORM_SCALE:
            check_scales(graph, [group.name for group in chosen])
            found = _scales(model, graph, chosen)
        case Criterion.FEATURE_MAP_RANK:
            if images is None or not len(images):
                raise InvalidArgument("CRITERION_UNSUITABLE", "The rank of feature maps needs images. Received: none")
            found = _over_producers(chosen, _ranks(model, graph, _producers(chosen), images))
        case Criterion.RANDOM:
            return random_scores(graph, [group.name for group in chosen], seed)
    return {name: tuple(float(score) for score in scores) for name, scores in found.items()}


def _producers(groups: Iterable[ChannelGroup]) -> list[str]:
    return [name for group in groups for name in group.producers]


def _over_producers(groups: Iterable[ChannelGroup], scores: Mapping[str, _FLOAT]) -> dict[str, _FLOAT]:
    return {group.name: np.mean([scores[name] for name in group.producers], axis=0) for group in groups}


def _norms(model: keras.Model, graph: LayerGraph, name: str, *, order: int) -> _FLOAT:
    """Returns the L1 or L2 norm of every filter of a layer, bias left out (Li et al. 2017)."""
    layer = _layer_of(model, graph, name)
    weights = {weight.name: values for weight, values in zip(layer.weights, layer.get_weights(), strict=True)}
    kernel = weights["pointwise_kernel"] if "pointwise_kernel" in weights else weights["kernel"]
    filters = np.moveaxis(kernel, _FILTER_AXIS.get(graph[name].op, -1), 0)
    return np.asarray(np.linalg.norm(filters.reshape(len(filters), -1).astype(np.float64), ord=order, axis=1))


def _scales(model: keras.Model, graph: LayerGraph, groups: Iterable[ChannelGroup]) -> dict[str, _FLOAT]:
    """Returns the mean size of the scales by which batch normalisations multiply every channel (Liu et al. 2017).

    A normalisation after a concatenation has the scales of several groups, and a channel may pass several normalisations.
    """
    sums = {group.name: np.zeros(group.width) for group in groups}
    counts = {name: np.zeros(len(values)) for name, values in sums.items()}
    origins = channel_origins(graph)
    for layer in graph:
        if layer.op != "BatchNormalization" or not layer.config["scale"]:
            continue
        scales = np.abs(_layer_of(model, graph, layer.name).gamma)
        for origin, scale in zip(origins[layer.name], scales, strict=True):
            if origin is not None and origin[0] in sums:
                sums[origin[0]][origin[1]] += scale
                counts[origin[0]][origin[1]] += 1
    return {name: total / counts[name] for name, total in sums.items()}


def _ranks(model: keras.Model, graph: LayerGraph, producers: Iterable[str], images: NDArray[np.float32]) -> dict[str, _FLOAT]:
    """Returns the mean matrix rank of every feature map over all images (HRank, Lin et al. 2020).

    Maps are taken after the normalisation and the activation of their layer: before, almost every one has full rank. A layer
    that is called several times is judged by its first call.
    """
    taps = {name: _finished(graph, name) for name in producers}
    probe = keras.Model(model.input, {name: _layer_of(model, graph, tap).output for name, tap in taps.items()})
    sums: dict[str, _FLOAT] = {name: np.zeros(graph[name].output_shape[-1]) for name in taps}
    for start in range(0, len(images), _BATCH):
        maps = probe(images[start : start + _BATCH], training=False)  # compiling it would take longer than the few batches do
        for name, values in maps.items():
            sums[name] += _rank_of(keras.ops.convert_to_numpy(values)).sum(axis=0)
    return {name: total / len(images) for name, total in sums.items()}


def _rank_of(maps: NDArray[np.float32]) -> _FLOAT:
    """Returns ranks of shape (n, channels) for maps of shape (n, rows, columns, channels).

    Sequences and single values, of shape (n, steps, channels) and (n, channels), have rank 1 unless they are zero.
    """
    images, *sides, channels = maps.shape
    rows = sides[0] if len(sides) == 2 else 1
    matrices = np.moveaxis(maps.reshape(images, rows, -1, channels), -1, 1)
    return np.asarray(np.linalg.matrix_rank(matrices))


def _finished(graph: LayerGraph, producer: str) -> str:
    """Returns the last of the normalisation and activations that follow a producer and read nothing else."""
    name = producer
    while len(graph.consumers[name]) == 1 and graph[graph.consumers[name][0]].op in _PASSES:
        name = graph.consumers[name][0]
    return name


def _layer_of(model: keras.Model, graph: LayerGraph, name: str) -> keras.Layer:
    return model.get_layer(graph[name].shares or name)
