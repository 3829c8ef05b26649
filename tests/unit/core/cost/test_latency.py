"""The roofline: predicted latency, from scratch and kept up to date."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.core import devices
from secateur.core.cost import Cost, CostModel, Work, cost_of, predict_latency_ms
from secateur.core.graph import LayerGraph, channel_groups, with_widths
from secateur.core.graph.assembly import Builder
from secateur.core.serial import from_data, to_data
from tests.support.graphs import layer_graphs

NRF52840, PI4 = devices.get("nrf52840"), devices.get("raspberrypi4")


def resnet8() -> LayerGraph:
    """MLPerf Tiny's image classification."""
    net = Builder("resnet8", (32, 32, 3))

    def conv(name: str, source: str | None, filters: int, kernel: int = 3, strides: int = 1) -> str:
        sources = [source] if source else []
        net.add("Conv2D", name, *sources, filters=filters, kernel_size=kernel, strides=strides, padding="same")
        return net.add("BatchNormalization", f"{name}_bn")

    conv("stem", None, 16)
    stream = net.add("ReLU", "stem_relu")
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        conv(f"conv{filters}a", stream, filters, strides=strides)
        branch = conv(f"conv{filters}b", net.add("ReLU", f"relu{filters}a"), filters)
        shortcut = stream if strides == 1 else conv(f"shortcut{filters}", stream, filters, kernel=1, strides=strides)
        net.add("Add", f"add{filters}", branch, shortcut)
        stream = net.add("ReLU", f"relu{filters}")
    net.add("AveragePooling2D", "pool", pool_size=8)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=10, activation="softmax")
    return net.build()


@pytest.mark.parametrize(
    ("profile", "milliseconds"),
    [("stm32f746", 62.6), ("stm32l4r5", 390), ("stm32h7a3", 40.8), ("stm32u575", 111), ("stm32g0b1", 1522), ("nrf5340", 316),
     ("raspberrypi4", 1.071), ("nrf52840", 731.25), ("stm32h743", 23.8), ("rp2040", 732.4), ("esp32-s3", 94.27),
     ("raspberrypi5", 0.2235)],
)  # fmt: skip
def test_the_network_that_was_measured(profile: str, milliseconds: float) -> None:
    """The last five were not: their times are those of a core of the same design, by clock, or of another network, by MACs."""
    cost = cost_of(resnet8())
    assert cost.macs == 12_501_632
    assert predict_latency_ms(cost.work, devices.get(profile)) == pytest.approx(milliseconds, rel=0.01)


def test_an_operator_takes_the_longer_of_computing_and_moving() -> None:
    profile = replace(NRF52840, macs_per_second=1e6, bytes_per_second=1e6, seconds_per_operator=0.5)
    assert predict_latency_ms([Work(2_000_000, 1_000_000)], profile) == 2_500
    assert predict_latency_ms([Work(1_000_000, 3_000_000, operators=2)], profile) == 4_000
    assert predict_latency_ms([Work(2_000_000, 0), Work(0, 3_000_000)], profile) == 6_000


def test_work_counts_weights_and_tensors_once_in_int8() -> None:
    net = Builder("net", (8, 8, 3))
    net.add("Conv2D", "conv", filters=4, kernel_size=3, padding="same", use_bias=False)
    net.add("ReLU", "relu")
    net.add("Add", "add", "conv", "relu")
    conv, relu, add = cost_of(net.build()).work
    assert conv == Work(8 * 8 * 9 * 3 * 4, 9 * 3 * 4 + 8 * 8 * (3 + 4))
    assert (relu.macs, relu.moved_bytes) == (0, 2 * 8 * 8 * 4)
    assert add.moved_bytes == 3 * 8 * 8 * 4


def test_shared_weights_are_read_by_every_call() -> None:
    net = Builder("net", (16,))
    net.add("Dense", "dense", units=16)
    net.add("Dense", "dense_call2", units=16, shares="dense")
    first, second = cost_of(net.build()).work
    assert first == second == Work(16 * 16, 16 * 16 + 16 + 2 * 16)


@settings(max_examples=60)
@given(layer_graphs(every_kind=True), st.data())
def test_kept_up_to_date(graph: LayerGraph, data: st.DataObject) -> None:
    groups = [group for group in channel_groups(graph, residual="coupled") if group.prunable]
    model = CostModel(graph, groups)
    for _ in range(data.draw(st.integers(1, 5))):
        group = data.draw(st.sampled_from(groups))
        model.set_width(group.name, data.draw(st.integers(1, group.width)))
        profile = data.draw(st.sampled_from([NRF52840, PI4]))
        assert model.latency_ms(profile) == predict_latency_ms(model.cost().work, profile)
    pruned = with_widths(graph, model.widths)
    assert model.latency_ms(PI4) == predict_latency_ms(cost_of(pruned).work, PI4)


def test_survives_a_round_trip() -> None:
    cost = cost_of(resnet8())
    assert from_data(Cost, to_data(cost)) == cost
