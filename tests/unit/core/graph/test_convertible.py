"""What no file for devices can be made of is refused before a job is."""

from __future__ import annotations

from typing import Any

import pytest

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, check_convertible, from_data, zoo
from secateur.core.graph.assembly import Builder


def network(op: str, config: dict[str, Any], shape: tuple[int, ...] = (12, 12, 3)) -> LayerGraph:
    net = Builder("net", shape)
    net.add(f"Conv{len(shape) - 1}D", "conv", filters=8, kernel_size=3)
    net.add(op, "suspect", **config)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=10)
    return net.build()


@pytest.mark.parametrize(
    ("op", "config", "shape", "instead"),
    [
        ("Activation", {"activation": "gelu"}, (12, 12, 3), "silu"),
        ("Dense", {"units": 8, "activation": "softplus"}, (12, 12, 3), "relu"),
        ("Activation", {"activation": "hard_tanh"}, (12, 12, 3), "argument of the layer before"),
        ("ELU", {"alpha": 0.5}, (12, 12, 3), "1"),
        ("UpSampling2D", {"interpolation": "bicubic"}, (12, 12, 3), "bilinear"),
        ("UpSampling1D", {}, (12, 3), "Conv1DTranspose"),
        ("Conv2DTranspose", {"filters": 8, "kernel_size": 3, "dilation_rate": 2}, (12, 12, 3), "1"),
        ("AdaptiveAveragePooling2D", {"output_size": (1, 4)}, (12, 12, 3), "GlobalAveragePooling2D"),
        ("AdaptiveMaxPooling2D", {"output_size": 2}, (3, 12, 3), "GlobalMaxPooling2D"),
    ],
)
def test_names_the_layer_and_what_to_use_instead(op: str, config: dict[str, Any], shape: tuple[int, ...], instead: str) -> None:
    graph = network(op, config, shape)
    with pytest.raises(InvalidArgument) as caught:
        check_convertible(graph)
    assert (caught.value.reason, caught.value.field) == ("LAYER_UNSUPPORTED", "suspect")
    assert instead in caught.value.message.split("TensorFlow Lite Micro", 1)[1]
    assert from_data(graph.to_dict()) == graph  # one that was stored before can still be read


@pytest.mark.parametrize(
    ("op", "config"),
    [
        ("Activation", {"activation": "silu"}),
        ("Conv2D", {"filters": 8, "kernel_size": 3, "activation": "hard_tanh"}),
        ("ELU", {"alpha": 1.0}),
        ("UpSampling2D", {"interpolation": "bilinear"}),
        ("Conv2DTranspose", {"filters": 8, "kernel_size": 3}),
        ("Conv2D", {"filters": 8, "kernel_size": 3, "dilation_rate": 2}),
        ("AdaptiveMaxPooling2D", {"output_size": 2}),
    ],
)
def test_what_to_use_instead_passes(op: str, config: dict[str, Any]) -> None:
    check_convertible(network(op, config))


@pytest.mark.parametrize("name", zoo.names())
def test_the_zoo_passes(name: str) -> None:
    check_convertible(zoo.build(name, (32, 32, 3), 10))
