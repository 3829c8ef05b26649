"""Predicted file and arena sizes, against what exporter and interpreter really made of these networks."""

from __future__ import annotations

from typing import Any

import pytest

from secateur.core.cost import cost_of
from secateur.core.cost.litert import lower
from secateur.core.graph import LayerGraph, channel_groups, with_widths, zoo
from secateur.core.graph.assembly import Builder


def narrowed(graph: LayerGraph, divisor: int) -> LayerGraph:
    """The network with every n-th prunable group cut to 1/divisor, less n channels: odd widths, as plans have them."""
    groups = [group for group in channel_groups(graph) if group.prunable]
    return with_widths(graph, {group.name: max(1, group.width // divisor - place % 4) for place, group in enumerate(groups)})


@pytest.mark.parametrize(
    ("name", "input_shape", "divisor", "flash_bytes", "ram_bytes"),
    [
        ("resnet20", (8, 8, 1), 1, 290_184, 17_680),
        ("resnet20", (8, 8, 1), 2, 151_848, 16_336),
        ("resnet20", (32, 32, 3), 3, 103_520, 60_880),
        ("resnet56", (8, 8, 1), 2, 467_648, 42_256),
        ("resnet56", (32, 32, 3), 4, 248_912, 79_040),
        ("vgg16", (8, 8, 1), 8, 238_664, 12_160),
        ("vgg16", (32, 32, 3), 6, 413_264, 30_320),
    ],
)
def test_predictions_hold_what_was_measured(
    name: str, input_shape: tuple[int, int, int], divisor: int, flash_bytes: int, ram_bytes: int
) -> None:
    """Measured with `secateur.workers.engine`: `len(export_untrained(...))` and `measure_arena(...).smallest`."""
    cost = cost_of(narrowed(zoo.build(name, input_shape, 10), divisor))
    assert flash_bytes <= cost.flash_bytes <= 1.01 * flash_bytes
    assert ram_bytes <= cost.ram_bytes <= 1.006 * ram_bytes


def operators_of(net: Builder) -> list[tuple[str, ...]]:
    return [operator.layers for operator in lower(net.build())]


def test_batch_norm_and_relu_fold_into_the_convolution() -> None:
    net = Builder("net", (8, 8, 3))
    net.add("Conv2D", "conv", filters=4, kernel_size=3)
    net.add("BatchNormalization", "bn")
    net.add("ReLU", "relu", max_value=6.0)
    net.add("Dropout", "dropout", rate=0.5)
    net.add("GlobalAveragePooling2D", "pool")
    assert operators_of(net) == [("conv", "bn", "relu"), ("pool",)]


def test_batch_norm_that_cannot_fold_keeps_a_factor_and_an_offset_per_channel() -> None:
    def flash(op: str, **config: Any) -> int:
        net = Builder("net", (8, 8, 3))
        net.add("Conv2D", "conv", filters=10, kernel_size=3, activation="relu")
        net.add(op, "scale", **config)
        return cost_of(net.build()).flash_bytes

    assert flash("BatchNormalization") - flash("Rescaling", scale=0.5) == 2 * 10


def test_what_somebody_else_reads_is_kept() -> None:
    net = Builder("net", (8, 8, 3))
    net.add("Conv2D", "conv", filters=4, kernel_size=3)
    net.add("ReLU", "relu", "conv")
    net.add("Add", "add", "conv", "relu")
    assert operators_of(net) == [("conv",), ("relu",), ("add",)]


def test_only_one_activation_fuses() -> None:
    net = Builder("net", (8, 8, 3))
    net.add("Conv2D", "conv", filters=4, kernel_size=3, activation="relu")
    net.add("Activation", "relu", activation="relu")
    net.add("Activation", "tanh", activation="tanh")
    assert operators_of(net) == [("conv",), ("relu",), ("tanh",)]


def test_what_is_computed_in_float_is_counted_at_four_times_the_memory() -> None:
    plain, floating = Builder("net", (8, 8, 3)), Builder("net", (8, 8, 3))
    for net, top in ((plain, None), (floating, 4)):
        net.add("Conv2D", "conv", filters=64, kernel_size=3, padding="same")
        net.add("ReLU", "activation", max_value=top, negative_slope=0.1)
    tensor = 8 * 8 * 64
    between = cost_of(floating.build()).ram_bytes - cost_of(plain.build()).ram_bytes
    assert between == pytest.approx((1 + 4 + 4 - 1 - 1) * tensor, rel=0.05)  # two of float32 beside the input, not one of int8


def test_a_reshape_that_changes_nothing_takes_nothing() -> None:
    net = Builder("net", (8, 8, 3))
    net.add("Conv2D", "conv", filters=4, kernel_size=3, padding="same")
    net.add("Reshape", "same", target_shape=(8, 8, 4))
    net.add("ReLU", "relu")
    assert operators_of(net)[0][0] == "conv"
    assert not any("same" in layers for layers in operators_of(net))


def test_wrapping_the_network_in_dropout_changes_nothing() -> None:
    plain, dropped = Builder("net", (8, 8, 3)), Builder("net", (8, 8, 3))
    for net in (plain, dropped):
        net.add("Conv2D", "conv", filters=4, kernel_size=3)
    dropped.add("Dropout", "dropout", rate=0.5)
    assert cost_of(plain.build()).flash_bytes == cost_of(dropped.build()).flash_bytes
    assert cost_of(plain.build()).ram_bytes == cost_of(dropped.build()).ram_bytes
