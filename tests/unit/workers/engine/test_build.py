from __future__ import annotations

from typing import Any

import numpy as np

from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph, zoo
from secateur.core.graph.assembly import Builder
from secateur.core.planning import Budget, plan
from secateur.workers.engine.build import build_model, ends_in_softmax


def test_layers_keep_their_names(graph: LayerGraph) -> None:
    assert [layer.name for layer in build_model(graph).layers] == [layer.name for layer in graph]


def test_a_plan_decides_the_widths() -> None:
    graph = zoo.build("resnet20", (8, 8, 1), 10)
    chosen = plan(graph, Budget.fractions(parameters=0.4))
    model = build_model(graph, chosen)
    assert model.count_params() == chosen.cost.parameters <= 0.4 * cost_of(graph).parameters
    for name, width in chosen.widths.items():
        assert model.get_layer(name).output.shape[-1] == width
    assert np.isfinite(model(np.zeros((2, 8, 8, 1), np.float32))).all()


def test_probabilities_are_told_from_logits(graph: LayerGraph) -> None:
    def headed(**dense: str) -> Builder:
        net = Builder("headed", (8, 8, 1))
        net.add("Flatten", "flat")
        net.add("Dense", "dense", units=10, **dense)
        return net

    layered = headed()
    layered.add("Softmax", "softmax")
    assert not ends_in_softmax(graph)
    assert ends_in_softmax(headed(activation="softmax").build())
    assert ends_in_softmax(layered.build())


def test_probabilities_are_found_behind_what_only_carries_them() -> None:
    def headed(activation: str, *carriers: tuple[str, dict[str, Any]], filters: int = 10) -> LayerGraph:
        net = Builder("headed", (2, 2, 1))
        net.add("Conv2D", "conv", filters=filters, kernel_size=1, activation=activation)
        for number, (op, config) in enumerate(carriers):
            net.add(op, f"carrier{number}", **config)
        return net.build()

    pooled = ("GlobalAveragePooling2D", {"keepdims": True})
    assert ends_in_softmax(headed("softmax", pooled, ("Flatten", {})))
    assert ends_in_softmax(headed("softmax", pooled, ("Reshape", {"target_shape": [10]}), ("Identity", {})))
    assert not ends_in_softmax(headed("linear", pooled, ("Flatten", {})))
    assert not ends_in_softmax(
        headed("softmax", ("Flatten", {}), filters=3)
    )  # four distributions of three classes are none of twelve
    assert not ends_in_softmax(headed("softmax", ("GlobalMaxPooling2D", {})))
