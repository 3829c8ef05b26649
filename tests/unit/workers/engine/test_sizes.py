"""Predicted sizes against files and arenas of networks with newer layers; `tests/benchmarks/sizes.py` has the whole table."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.graph.assembly import Builder
from secateur.workers.engine.build import build_model
from tests.support.exported import NETWORKS, sizes_of, untrained_size


@pytest.mark.parametrize("name", ["transposed", "separable", "gated", "prelu", "elu", "other_norms", "rare", "up_sampling"])
def test_predictions_are_close(name: str) -> None:
    graph = NETWORKS[name]()
    sizes = sizes_of(graph)
    errors = sizes.errors()
    assert abs(errors["int8"]) < 0.03
    assert abs(errors["float32"]) < 0.03
    assert abs(errors["arena"]) < 0.1


def test_slopes_count_before_training() -> None:
    """Fresh ones are all zero, and the converter stores equal constants once."""
    graph = NETWORKS["prelu"]()
    assert untrained_size(graph) == sizes_of(graph).int8


@pytest.mark.parametrize("size", [(2, 2), (3, 1)])
def test_repeated_rows_and_columns(size: tuple[int, int]) -> None:
    """Built in another way than by Keras's layer, for the sake of TensorFlow Lite Micro."""
    net = Builder("net", (5, 4, 2))
    net.add("UpSampling2D", "up", size=size)
    images = np.random.default_rng(0).random((1, 5, 4, 2), np.float32)
    expected = images.repeat(size[0], axis=1).repeat(size[1], axis=2)
    np.testing.assert_array_equal(np.asarray(build_model(net.build())(images)), expected)
