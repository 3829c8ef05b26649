"""Runs model files on LiteRT.

Loads neither Keras nor TensorFlow, so that a process that only measures stays as small as one on a device.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from secateur.workers.engine.quantize import decode, encode
from secateur.workers.engine.streams import captured_stderr


class LiteRt:
    """A model file on LiteRT with one thread.

    Args:
        model: Bytes of a .tflite file with batch 1, float32 or int8 at both ends.
    """

    def __init__(self, model: bytes) -> None:
        with captured_stderr():  # LiteRT announces its delegate there
            self._interpreter = Interpreter(model_content=model, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    def encode(self, images: NDArray[np.float32]) -> NDArray[Any]:
        """Returns images of shape (n, height, width, channels), values in [0, 1], as the model's input type takes them."""
        return encode(images, self._input["dtype"], *self._input["quantization"])

    def invoke(self, encoded: NDArray[Any]) -> NDArray[Any]:
        """Runs one encoded image, shape (1, height, width, channels); returns the raw output, shape (classes,)."""
        self._interpreter.set_tensor(self._input["index"], encoded)
        self._interpreter.invoke()
        output: NDArray[Any] = self._interpreter.get_tensor(self._output["index"])[0]
        return output

    def time_ns(self) -> int:
        """Runs the model on whatever its inputs hold and returns what that took, without copies in and out, in nanoseconds."""
        start = time.perf_counter_ns()
        self._interpreter.invoke()
        return time.perf_counter_ns() - start

    def outputs(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the real-valued outputs, shape (n, classes)."""
        raw = np.stack([self.invoke(image[np.newaxis]) for image in self.encode(images)])
        return decode(raw, *self._output["quantization"])


def classify_on_litert(model: bytes, images: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns the label of every image, shape (n,), as LiteRT computes it.

    Args:
        model: Bytes of a .tflite file with batch 1.
        images: Shape (n, height, width, channels), values in [0, 1].
    """
    labels: NDArray[np.int64] = LiteRt(model).outputs(images).argmax(axis=1)
    return labels
