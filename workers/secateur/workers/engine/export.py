"""Keras models to LiteRT files. The only module that imports TensorFlow."""

from __future__ import annotations

import logging
import string
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from secateur.core.reports import ArtifactFormat
from secateur.workers.engine.streams import captured_stderr

REPRESENTATIVE_IMAGES: Final = 200
"""Training images from which the ranges of the int8 activations are taken."""


def export(model: keras.Model, images: NDArray[np.float32]) -> dict[ArtifactFormat, bytes]:
    """Converts a trained model to every delivered format.

    Float32 keeps the model's numbers. Int8 is full integer: int8 input and output, int8 kernels with a scale per output
    channel, int32 biases, activation ranges from the first `REPRESENTATIVE_IMAGES` of `images`. The batch is fixed at 1,
    which TensorFlow Lite Micro needs to plan its memory.

    Args:
        model: TensorFlow-backed Keras model with one input and one output.
        images: Images of the training split, shape (n, height, width, channels).

    Returns:
        The bytes of a .tflite file per format.
    """
    with _quiet():
        frozen = _freeze(model)
        return {
            ArtifactFormat.LITERT_FLOAT32: _convert(frozen, None),
            ArtifactFormat.LITERT_INT8: _convert(frozen, images[:REPRESENTATIVE_IMAGES]),
        }


def export_untrained(model: keras.Model, images: NDArray[np.float32]) -> bytes:
    """Converts a model that is not yet trained to an int8 file of the size that it will have after training.

    Fresh weights hold constants that are equal to each other, such as all-zero biases, and the converter stores equal
    constants once: some kilobytes that come back with training. So the file is made of disturbed weights. The model itself
    keeps the weights it has.

    Args:
        model: TensorFlow-backed Keras model with one input and one output.
        images: Images of the training split, shape (n, height, width, channels). One is enough for the size.
    """
    with _disturbed(model), _quiet():
        return _convert(_freeze(model), images[:1])


@contextmanager
def _disturbed(model: keras.Model) -> Iterator[None]:
    fresh = model.get_weights()
    generator = np.random.default_rng(0)
    # Kernels are random already; all else starts out constant. Additions are positive: a batch-norm variance must stay so.
    model.set_weights([w + generator.uniform(0.01, 0.1, w.shape) if np.ptp(w) == 0 else w for w in fresh])
    try:
        yield
    finally:
        model.set_weights(fresh)


def _freeze(model: keras.Model) -> Any:
    """Returns the model as a concrete function of one image, its variables turned into constants.

    The converter accepts unfrozen variables for float32, but fails on them when it calibrates int8. Going through a
    SavedModel gives the same file in four times the time.
    """
    signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    function = tf.function(lambda images: model(images, training=False)).get_concrete_function(signature)
    return _with_short_names(convert_variables_to_constants_v2(function))


def _with_short_names(frozen: Any) -> Any:
    """Renames every node to a few letters.

    The converter writes the names into the file, where nothing on a device reads them: 8 kB of the 80 kB of a small
    ResNet-20. They also change with how often the model was called before, and equal models should give equal files.
    """
    nodes = frozen.graph.as_graph_def()
    names = {node.name: _letters(index) for index, node in enumerate(nodes.node)}

    def renamed(reference: str) -> str:
        """Renames within "^name" (a control input) and "name:1" (an output)."""
        control = "^" if reference.startswith("^") else ""
        name, colon, output = reference.removeprefix("^").partition(":")
        return f"{control}{names[name]}{colon}{output}"

    for node in nodes.node:
        node.name = names[node.name]
        node.input[:] = [renamed(reference) for reference in node.input]
        node.ClearField("experimental_debug_info")
    imported = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(nodes, name=""), [])
    ends = ([imported.graph.as_graph_element(renamed(t.name)) for t in side] for side in (frozen.inputs, frozen.outputs))
    return imported.prune(*ends)


def _letters(number: int) -> str:
    """Returns a short name: "a" to "z" and "A" to "Z", then two letters, and so on."""
    rest, last = divmod(number, len(string.ascii_letters))
    return (_letters(rest - 1) if rest else "") + string.ascii_letters[last]


def _convert(frozen: Any, representative: NDArray[np.float32] | None) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if representative is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in representative)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the converter from chattering: C++ on stderr, absl's logger and Python warnings. Errors still raise."""
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), captured_stderr():
            warnings.simplefilter("ignore")
            yield
    finally:
        absl.setLevel(level)
