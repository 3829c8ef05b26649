from __future__ import annotations

import io
import zipfile

import numpy as np

from secateur.workers.engine.datasets import Data
from secateur.workers.engine.keras_files import outputs_of, read_keras, write_keras
from tests.unit.workers.engine.conftest import Trained


def test_a_saved_model_computes_what_the_model_did(trained: Trained, data: Data) -> None:
    restored = read_keras(write_keras(trained.model))
    np.testing.assert_allclose(outputs_of(restored, data.test.images), trained.outputs, atol=1e-5)
    assert [layer.name for layer in restored.layers] == [layer.name for layer in trained.model.layers]


def test_equal_models_give_equal_files_whenever_they_are_written(trained: Trained) -> None:
    file = write_keras(trained.model)
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"date" not in archive.read("metadata.json")
    assert write_keras(trained.model) == file
