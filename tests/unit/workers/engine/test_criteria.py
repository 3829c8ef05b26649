"""Scores of channels, and what they make of a network."""

from __future__ import annotations

from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, channel_groups
from secateur.core.graph.assembly import Builder
from secateur.core.specs import Criterion
from secateur.workers.engine.criteria import channel_scores
from tests.support.networks import NETWORKS, trained_looking


def chain() -> LayerGraph:
    net = Builder("chain", (6, 6, 1))
    net.add("Conv2D", "one", filters=3, kernel_size=1)
    net.add("BatchNormalization", "one_bn")
    net.add("ReLU", "one_relu")
    other = net.add("Conv2D", "two", "one_relu", filters=3, kernel_size=1)
    net.add("Add", "sum", "one_relu", other)
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=2)
    return net.build()


@cache
def densenet() -> tuple[LayerGraph, keras.Model]:
    graph = NETWORKS["densenet"]()
    return graph, trained_looking(graph)


@pytest.mark.parametrize("criterion", Criterion)
def test_the_same_arguments_give_the_same_scores(criterion: Criterion) -> None:
    graph, model = densenet()
    images = np.random.default_rng(4).normal(size=(2, *graph.input_shape)).astype(np.float32)
    groups = {group.name: group.width for group in channel_groups(graph) if group.prunable}
    scores = channel_scores(criterion, model, graph, groups, images=images)
    assert {name: len(values) for name, values in scores.items()} == groups
    assert scores == channel_scores(criterion, model, graph, groups, images=images)


def test_norms_and_scales_are_means_over_the_layers_that_make_a_channel() -> None:
    graph = chain()
    model = trained_looking(graph)
    model.get_layer("one").set_weights([np.array([[[[1.0, -2.0, 3.0]]]]), np.full(3, 9.0)])
    model.get_layer("two").set_weights([np.array([[[[1, 0, 0], [-2, 3, 0], [2, 4, 6]]]]), np.full(3, 9.0)])
    rest = model.get_layer("one_bn").get_weights()[1:]
    model.get_layer("one_bn").set_weights([np.array([0.5, -2.0, 1.0]), *rest])
    assert channel_scores(Criterion.WEIGHT_L1, model, graph, ["one"])["one"] == (3.0, 4.5, 4.5)
    assert channel_scores(Criterion.WEIGHT_L2, model, graph, ["one"])["one"] == (2.0, 3.5, 4.5)
    assert channel_scores(Criterion.BATCH_NORM_SCALE, model, graph, ["one"])["one"] == (0.5, 2.0, 1.0)


def test_scales_behind_concatenations_find_their_channels() -> None:
    graph, model = densenet()
    found = channel_scores(Criterion.BATCH_NORM_SCALE, model, graph, ["stem", "block1_conv3_2"])
    scales = {name: np.abs(model.get_layer(name).get_weights()[0]) for name in ("block1_conv1_bn1", "block1_conv2_bn1")}
    scales |= {name: np.abs(model.get_layer(name).get_weights()[0]) for name in ("block1_conv3_bn1", "transition1_bn")}
    np.testing.assert_allclose(found["stem"], np.mean([values[:8] for values in scales.values()], axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["block1_conv3_2"], scales["transition1_bn"][-6:], rtol=1e-6)


def test_rank_is_that_of_the_activated_map() -> None:
    net = Builder("ranks", (4, 4, 1))
    net.add("Conv2D", "conv", filters=3, kernel_size=1)
    net.add("BatchNormalization", "bn", center=False, scale=False)
    net.add("ReLU", "relu")
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=2)
    graph = net.build()
    model = trained_looking(graph)
    model.get_layer("conv").set_weights([np.array([[[[1.0, 1.0, 0.0]]]]), np.array([0.0, 0.0, 1.0])])
    model.get_layer("bn").set_weights([np.array([0.0, 9.0, 0.0]), np.ones(3)])  # of the training, not of these images
    images = np.stack([np.eye(4), np.diag([1.0, 1.0, 0.0, 0.0])])[..., np.newaxis].astype(np.float32)
    images = np.tile(images, (17, 1, 1, 1))  # more than go through the network at once
    assert channel_scores(Criterion.FEATURE_MAP_RANK, model, graph, ["conv"], images=images)["conv"] == (3.0, 0.0, 1.0)


def test_norms_are_those_of_the_filters_however_a_kernel_lies() -> None:
    net = Builder("kernels", (4, 4, 1))
    net.add("SeparableConv2D", "separable", filters=3, kernel_size=1, depth_multiplier=2)
    net.add("Conv2DTranspose", "transposed", filters=2, kernel_size=1)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=2)
    graph = net.build()
    model = trained_looking(graph)
    depthwise, _, bias = model.get_layer("separable").get_weights()
    model.get_layer("separable").set_weights([depthwise, np.array([[[[1.0, -2.0, 3.0], [3.0, 4.0, 0.0]]]]), bias])
    model.get_layer("transposed").set_weights([np.array([[[[1.0, 2.0, -2.0], [-3.0, 0.0, 4.0]]]]), np.zeros(2)])
    found = channel_scores(Criterion.WEIGHT_L1, model, graph, ["separable", "transposed"])
    assert found == {"separable": (4.0, 6.0, 3.0), "transposed": (5.0, 7.0)}
    assert channel_scores(Criterion.WEIGHT_L2, model, graph, ["transposed"]) == {"transposed": (3.0, 5.0)}


def test_a_normalisation_of_the_images_or_without_a_scale_tells_nothing() -> None:
    net = Builder("scales", (4, 4, 1))
    net.add("BatchNormalization", "images")
    net.add("Conv2D", "conv", filters=3, kernel_size=1)
    net.add("BatchNormalization", "plain", scale=False)
    net.add("BatchNormalization", "scaled")
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=2)
    graph = net.build()
    model = trained_looking(graph)
    scaled = model.get_layer("scaled")
    scaled.set_weights([np.array([0.5, -2.0, 1.0]), *scaled.get_weights()[1:]])
    assert channel_scores(Criterion.BATCH_NORM_SCALE, model, graph, ["conv"]) == {"conv": (0.5, 2.0, 1.0)}


def test_a_shared_layer_is_judged_by_the_weights_of_its_owner() -> None:
    net = Builder("shared", (4, 4, 2))
    net.add("Conv2D", "first", filters=2, kernel_size=1)
    net.add("Conv2D", "again", shares="first", filters=2, kernel_size=1)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=2)
    graph = net.build()
    model = trained_looking(graph)
    model.get_layer("first").set_weights([np.array([[[[1.0, -2.0], [3.0, 4.0]]]]), np.zeros(2)])
    groups = [group.name for group in channel_groups(graph) if "again" in group.producers]
    assert list(channel_scores(Criterion.WEIGHT_L1, model, graph, groups).values()) == [(4.0, 6.0)]


ONE = np.outer([1.0, -1.0, 2.0, -2.0], [1.0, -1.0, 1.0, -1.0])[np.newaxis, ..., np.newaxis].astype(np.float32)
"""An image of rank 1, of which every activation makes one of rank 2."""


@pytest.mark.parametrize(
    ("activation", "options"),
    [
        ("ReLU", {}),
        ("LeakyReLU", {}),
        ("PReLU", {"shared_axes": [1, 2]}),
        ("ELU", {}),
        ("Activation", {"activation": "relu"}),
    ],
)
def test_maps_are_finished_before_their_rank_is_taken(activation: str, options: dict[str, Any]) -> None:
    net = Builder("finished", (4, 4, 1))
    net.add("Conv2D", "conv", filters=2, kernel_size=1, use_bias=False)
    net.add(activation, "act", **options)
    net.add("Flatten", "flat")
    net.add("Dense", "hidden", units=3)
    net.add("ReLU", "relu")
    net.add("Dense", "logits", units=2)
    graph = net.build()
    model = trained_looking(graph)
    model.get_layer("conv").set_weights([np.ones((1, 1, 1, 2))])
    model.get_layer("hidden").set_weights([np.zeros((32, 3)), np.array([1.0, 0.0, -1.0])])
    found = channel_scores(Criterion.FEATURE_MAP_RANK, model, graph, ["conv", "hidden"], images=ONE)
    assert found == {"conv": (2.0, 2.0), "hidden": (1.0, 0.0, 0.0)}


def test_a_map_that_several_layers_read_is_taken_as_they_read_it() -> None:
    net = Builder("read_twice", (4, 4, 1))
    net.add("Conv2D", "conv", filters=1, kernel_size=1, use_bias=False)
    net.add("ReLU", "relu")
    net.add("Add", "sum", "conv", "relu")
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=2)
    graph = net.build()
    model = trained_looking(graph)
    model.get_layer("conv").set_weights([np.ones((1, 1, 1, 1))])
    assert channel_scores(Criterion.FEATURE_MAP_RANK, model, graph, ["conv"], images=ONE)["conv"] == (1.0,)


def test_random_scores_follow_the_seed_and_the_group_alone() -> None:
    graph, model = densenet()
    both = channel_scores(Criterion.RANDOM, model, graph, ["stem", "transition1"], seed=1)
    assert channel_scores(Criterion.RANDOM, model, graph, ["stem"], seed=1)["stem"] == both["stem"]
    assert channel_scores(Criterion.RANDOM, model, graph, ["stem"], seed=2)["stem"] != both["stem"]


def test_says_what_a_criterion_needs() -> None:
    graph = NETWORKS["gated_mobilenet"]()
    model = trained_looking(graph)
    with pytest.raises(InvalidArgument, match="'hidden'"):
        channel_scores(Criterion.BATCH_NORM_SCALE, model, graph, ["hidden"])
    with pytest.raises(InvalidArgument, match="needs images"):
        channel_scores(Criterion.FEATURE_MAP_RANK, model, graph, ["hidden"])
    with pytest.raises(InvalidArgument, match="needs images"):
        channel_scores(
            Criterion.FEATURE_MAP_RANK, model, graph, ["hidden"], images=np.zeros((0, *graph.input_shape), np.float32)
        )
