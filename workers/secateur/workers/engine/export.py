"""Keras models to LiteRT files. The only module that imports TensorFlow."""

from __future__ import annotations

import logging
import re
import string
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from secateur.core.reports import ArtifactFormat
from secateur.workers.engine.elus import SLOPE, with_int8_elus
from secateur.workers.engine.streams import captured_stderr

REPRESENTATIVE_IMAGES: Final = 200
"""Training images from which the ranges of the int8 activations are taken."""


_MOST_AXES: Final = 4
"""Axes of which the converter computes squared differences in int8; of more it makes a difference and a square."""
_LETTERS: Final = re.compile(r"[a-zA-Z]+")
_NUMBERED: Final = re.compile(r"_\d+$")


@dataclass(frozen=True, slots=True)
class Exported:
    """A network as LiteRT files.

    Args:
        files: The bytes of a .tflite file per format.
        layers: Layer of the network by name of a node, of those that the names of tensors are made of; layers come in
            execution order.
    """

    files: Mapping[ArtifactFormat, bytes]
    layers: Mapping[str, str]

    def layer_of(self, tensor: str) -> str:
        """Returns the layer that computes a tensor of a file, the last one where several are folded; empty if unknown.

        Args:
            tensor: Its name: the names of all nodes that were folded, "X_1;W_1;L_1", numbered where the converter made two.
        """
        nodes = {match[0] for part in tensor.split(";") if (match := _LETTERS.match(part))}
        order = {layer: position for position, layer in enumerate(self.layers.values())}
        return max((self.layers[node] for node in nodes if node in self.layers), key=order.__getitem__, default="")


def export(model: keras.Model, images: NDArray[np.float32]) -> Exported:
    """Converts a trained model to every format of LiteRT.

    Float32 keeps the model's numbers. Float16 halves the file: it stores weights rounded to float16, which are widened before
    they are used. Int8 is full integer: int8 input and output, int8 kernels with a scale per output channel, int32 biases,
    activation ranges from the first `REPRESENTATIVE_IMAGES` of `images`. The batch is fixed at 1, which TensorFlow Lite Micro
    needs to plan its memory.

    Args:
        model: TensorFlow-backed Keras model with one input and one output.
        images: Images of the training split, shape (n, height, width, channels).
    """
    with _quiet():
        frozen, layers = _freeze(model)
        files = {
            ArtifactFormat.LITERT_FLOAT32: bytes(_converter(frozen).convert()),
            ArtifactFormat.LITERT_FLOAT16: _float16(frozen),
            ArtifactFormat.LITERT_INT8: _int8(frozen, images[:REPRESENTATIVE_IMAGES]),
        }
    return Exported(files, layers)


def export_int8(model: keras.Model, images: NDArray[np.float32]) -> bytes:
    """Converts a trained model to the int8 file alone; see `export`."""
    with _quiet():
        return _int8(_freeze(model)[0], images[:REPRESENTATIVE_IMAGES])


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
        return _int8(_freeze(model)[0], images[:1])


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


def _freeze(model: keras.Model) -> tuple[Any, dict[str, str]]:
    """Returns the model as a concrete function of one image, its variables turned into constants, and its nodes' layers.

    The converter accepts unfrozen variables for float32, but fails on them when it calibrates int8. Going through a
    SavedModel gives the same file in four times the time.
    """
    signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    function = tf.function(lambda images: model(images, training=False)).get_concrete_function(signature)
    frozen = convert_variables_to_constants_v2(function)
    nodes = frozen.graph.as_graph_def()
    names = {node.name: _letters(index) for index, node in enumerate(nodes.node)}
    layers = _layers_of(model, names)
    layers[names[frozen.outputs[0].op.name]] = model.output_names[0]  # a node that stands outside of all layers
    return _renamed(frozen, nodes, names), layers


def _renamed(frozen: Any, nodes: Any, names: Mapping[str, str]) -> Any:
    """Renames every node to a few letters.

    The converter writes the names into the file, where nothing on a device reads them: 8 kB of the 80 kB of a small
    ResNet-20. They also change with how often the model was called before, and equal models should give equal files.
    """

    def renamed(reference: str) -> str:
        """Renames within "^name" (a control input) and "name:1" (an output)."""
        control = "^" if reference.startswith("^") else ""
        name, colon, output = reference.removeprefix("^").partition(":")
        return f"{control}{names[name]}{colon}{output}"

    for node in nodes.node:
        node.name = names[node.name]
        node.input[:] = [renamed(reference) for reference in node.input]
        node.ClearField("experimental_debug_info")
    return _imported(nodes, *([renamed(tensor.name) for tensor in side] for side in (frozen.inputs, frozen.outputs)))


def _imported(nodes: Any, inputs: list[str], outputs: list[str]) -> Any:
    """Returns a graph as a concrete function, given the names of the tensors at its ends."""
    imported = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(nodes, name=""), [])
    return imported.prune(*([imported.graph.as_graph_element(name) for name in side] for side in (inputs, outputs)))


def _layers_of(model: keras.Model, names: Mapping[str, str]) -> dict[str, str]:
    """Returns the layer of every node by its short name, from the long one: "model_1/conv_1/convolution" is of "conv".

    TensorFlow numbers the scopes of layers once a model was called before; then it numbers all of them.
    """
    layers = {layer.name: position for position, layer in enumerate(model.layers)}
    scopes = {node: node.split("/")[1] for node in names if node.count("/") > 1}
    numbered = any(scope not in layers for scope in scopes.values())
    found = {names[node]: _NUMBERED.sub("", scope) if numbered else scope for node, scope in scopes.items()}
    known = {node: layer for node, layer in found.items() if layer in layers}
    return dict(sorted(known.items(), key=lambda pair: layers[pair[1]]))


def _letters(number: int) -> str:
    """Returns a short name: "a" to "z" and "A" to "Z", then two letters, and so on."""
    rest, last = divmod(number, len(string.ascii_letters))
    return (_letters(rest - 1) if rest else "") + string.ascii_letters[last]


def _float16(frozen: Any) -> bytes:
    converter = _converter(frozen)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def _int8(frozen: Any, representative: NDArray[np.float32]) -> bytes:
    file = _full_integer(_without_float_operators(frozen), representative)
    has_elus = any(operation.type == "Elu" for operation in frozen.graph.get_operations())
    return with_int8_elus(file) if has_elus else file


def _without_float_operators(frozen: Any) -> Any:
    """Writes squares as products, and puts a leaky ReLU of slope `SLOPE` behind every ELU.

    The converter has no int8 form of squares and ELUs: it computes them in float32, at four times the memory. What it makes of
    a leaky ReLU behind an ELU is put right by `with_int8_elus`.
    """
    nodes = frozen.graph.as_graph_def()
    for node in list(nodes.node):
        match node.op:
            case "Elu":  # what is behind it takes its name, which whatever reads it knows
                behind = nodes.node.add(name=node.name, op="LeakyRelu", input=[f"{node.name}_"])
                behind.attr["T"].CopyFrom(node.attr["T"])
                behind.attr["alpha"].f = SLOPE
                node.name = behind.input[0]
            case "Square":
                node.op = "Mul"
                node.input.append(node.input[0])
            case "SquaredDifference" if frozen.graph.get_tensor_by_name(f"{node.name}:0").shape.rank > _MOST_AXES:
                difference = nodes.node.add(name=f"{node.name}_", op="Sub", input=node.input)
                difference.attr["T"].CopyFrom(node.attr["T"])
                node.op = "Mul"
                node.input[:] = [difference.name] * 2
    return _imported(nodes, *([tensor.name for tensor in side] for side in (frozen.inputs, frozen.outputs)))


def _full_integer(frozen: Any, representative: NDArray[np.float32]) -> bytes:
    converter = _converter(frozen)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in representative)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _converter(frozen: Any) -> Any:
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen])


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
