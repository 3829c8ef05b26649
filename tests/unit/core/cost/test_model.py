"""The incremental cost model: whatever the order of changes, it agrees with a fresh count of the pruned network."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.core.cost import CostModel, cost_of, layer_costs
from secateur.core.graph import LayerGraph, channel_groups, with_widths, zoo
from secateur.core.graph.assembly import Builder
from secateur.core.graph.indices import kept_positions
from secateur.core.resources import Resource
from tests.support.graphs import layer_graphs


@settings(max_examples=150)
@given(layer_graphs(every_kind=True), st.data())
def test_equals_a_fresh_count(graph: LayerGraph, data: st.DataObject) -> None:
    groups = [group for group in channel_groups(graph, residual="coupled") if group.prunable]
    model = CostModel(graph, groups)
    for _ in range(data.draw(st.integers(1, 4))):
        group = data.draw(st.sampled_from(groups))
        model.set_width(group.name, data.draw(st.integers(1, group.width)))
    pruned = with_widths(graph, model.widths)
    assert model.cost() == cost_of(pruned)
    assert {name: cost for name, cost in layer_costs(pruned).items() if name in model.layer_costs} == model.layer_costs


@settings(max_examples=40)
@given(layer_graphs(every_kind=True))
def test_back_at_full_width_nothing_has_changed(graph: LayerGraph) -> None:
    groups = [group for group in channel_groups(graph) if group.prunable]
    model = CostModel(graph, groups)
    before = model.cost()
    for group in groups:
        model.set_width(group.name, 1)
    for group in groups:
        model.set_width(group.name, group.width)
    assert model.cost() == before == cost_of(graph)


@settings(max_examples=60)
@given(layer_graphs(every_kind=True), st.data())
def test_sums_shrink_with_every_width(graph: LayerGraph, data: st.DataObject) -> None:
    groups = [group for group in channel_groups(graph) if group.prunable and group.width > 1]
    if not groups:
        return
    model = CostModel(graph, groups)
    before = model.cost()
    group = data.draw(st.sampled_from(groups))
    model.set_width(group.name, group.width - 1)
    after = model.cost()
    assert (after.parameters, after.macs, after.memory_bytes, after.flash_bytes) < (
        before.parameters,
        before.macs,
        before.memory_bytes,
        before.flash_bytes,
    )
    assert after.peak_activation_bytes <= before.peak_activation_bytes


def test_value_agrees_with_cost() -> None:
    model = CostModel(zoo.build("resnet20", (8, 8, 1), 10))
    for resource, value in model.cost().by_resource().items():
        assert model.value(resource) == value


@pytest.mark.parametrize("resource", [Resource.LATENCY_MS, Resource.ACCURACY])
def test_no_graph_knows_latency_or_accuracy(resource: Resource) -> None:
    with pytest.raises(ValueError, match=resource.value):
        CostModel(zoo.build("resnet20", (8, 8, 1), 10)).value(resource)


def test_load_is_what_sits_in_the_groups_own_layers() -> None:
    graph = zoo.build("vgg16", (32, 32, 3), 10)
    model = CostModel(graph, [group for group in channel_groups(graph) if group.prunable])
    costs = layer_costs(graph)
    assert model.load("block1_conv2", Resource.MACS) == costs["block1_conv2"].macs
    assert model.load("block1_conv2", Resource.PARAMETERS) == costs["block1_conv2"].parameters + 4 * 64  # batch norm goes along


def test_ram_sits_where_the_peak_is() -> None:
    graph = zoo.build("vgg16", (32, 32, 3), 10)
    model = CostModel(graph, [group for group in channel_groups(graph) if group.prunable])
    feature_map = 32 * 32 * 64
    assert model.load("block1_conv1", Resource.RAM_BYTES) > feature_map
    assert model.load("block1_conv2", Resource.RAM_BYTES) > feature_map
    assert model.load("block5_conv3", Resource.RAM_BYTES) < feature_map
    assert model.heaviest_layer(Resource.RAM_BYTES).startswith("block1_")
    assert model.heaviest_layer(Resource.PARAMETERS).startswith(("block4", "block5"))


def test_the_heaviest_of_ram_is_the_largest_tensor_at_the_peak() -> None:
    net = Builder("net", (8, 8, 3))
    for name, filters in (("a", 32), ("b", 4), ("c", 2)):
        net.add("Conv2D", name, filters=filters, kernel_size=3, padding="same")
    assert CostModel(net.build()).heaviest_layer(Resource.RAM_BYTES) == "a"


@pytest.mark.parametrize("inputs", [("features", "weight"), ("weight", "features")])
def test_one_weight_per_position_is_stretched_over_all_channels(inputs: tuple[str, str]) -> None:
    net = Builder("net", (8, 8, 3))
    net.add("Conv2D", "features", filters=8, kernel_size=1)
    net.add("Conv2D", "weight", "input", filters=1, kernel_size=3, padding="same", activation="sigmoid")
    net.add("Multiply", "gate", *inputs)
    net.add("Conv2D", "last", filters=4, kernel_size=1)
    graph = net.build()
    model = CostModel(graph, [group for group in channel_groups(graph) if group.prunable])
    model.set_width("features", 3)
    assert model.cost() == cost_of(with_widths(graph, {"features": 3}))
    kept = kept_positions(graph, {"features": (0, 2, 5)})
    assert (kept["weight"], kept["gate"]) == ((0,), (0, 2, 5))


def test_a_change_is_cheap() -> None:
    """A plan makes hundreds of changes; a fresh count of ResNet-56 takes about 10 ms, a change must not."""
    graph = zoo.build("resnet56", (32, 32, 3), 10)
    groups = [group for group in channel_groups(graph) if group.prunable]
    model = CostModel(graph, groups)
    start = time.process_time()
    for round_ in range(10):
        for group in groups:
            model.set_width(group.name, group.width - round_)
    assert (time.process_time() - start) / (10 * len(groups)) < 0.001
