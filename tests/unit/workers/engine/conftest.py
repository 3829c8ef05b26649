"""One training for all tests that need a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from secateur.core.graph import LayerGraph
from secateur.core.reports import ArtifactFormat
from secateur.workers.engine.build import build_model
from secateur.workers.engine.datasets import Data, load
from secateur.workers.engine.export import Exported, export
from secateur.workers.engine.records import Epoch, Training
from secateur.workers.engine.train import train
from tests.support.training import QUICK, small_network


@dataclass(frozen=True)
class Trained:
    model: Any
    training: Training
    reported: list[Epoch]
    exported: Exported
    outputs: NDArray[np.float32]

    @property
    def int8(self) -> bytes:
        return self.exported.files[ArtifactFormat.LITERT_INT8]

    @property
    def float32(self) -> bytes:
        return self.exported.files[ArtifactFormat.LITERT_FLOAT32]


@pytest.fixture(scope="session")
def graph() -> LayerGraph:
    return small_network()


@pytest.fixture(scope="session")
def data() -> Data:
    return load("digits", seed=0, validation_fraction=QUICK.validation_fraction)


@pytest.fixture(scope="session")
def trained(graph: LayerGraph, data: Data) -> Trained:
    keras.utils.set_random_seed(0)
    model = build_model(graph)
    reported: list[Epoch] = []
    training = train(model, data, QUICK, seed=0, on_epoch=reported.append)
    outputs = np.asarray(model.predict(data.test.images, verbose=0))
    return Trained(model, training, reported, export(model, data.train.images), outputs)
