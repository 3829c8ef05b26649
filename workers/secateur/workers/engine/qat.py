"""Quantisation-aware fine-tuning, for networks that lose too much when they become int8 after training.

The network is trained on as it will compute: every tensor that the int8 file will hold is rounded to 8 bits in the forward
pass, and the gradient passes through the rounding as if it were not there (straight-through; Jacob et al., arXiv 1712.05877).
Kernels are rounded symmetrically with a scale per output channel, as the converter does it. It folds normalisation into the
kernel before, which scales whole channels and so changes nothing about their rounding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import keras
from keras import ops

from secateur.core.cost.litert import lower
from secateur.core.graph import LayerGraph
from secateur.core.specs import Recipe, Schedule

EPOCHS: Final = 5
"""Most epochs of the fine-tuning."""
_SLOWER: Final = 0.01
"""Learning rate, as a share of the recipe's."""
_LEVELS: Final = 255.0
_KERNEL_LEVELS: Final = 127.0
_SMALLEST: Final = 1e-8

_ACROSS: Final = {
    "DepthwiseConv1D": (0,),
    "DepthwiseConv2D": (0, 1),
    "Conv1DTranspose": (0, 2),
    "Conv2DTranspose": (0, 1, 3),
}
"""Axes of a kernel that share a scale; of other layers all but the last."""


def recipe_for(recipe: Recipe) -> Recipe:
    """Returns how to fine-tune a network that was trained by `recipe`: briefly, at a low rate."""
    return replace(
        recipe,
        epochs=min(EPOCHS, recipe.epochs),
        learning_rate=_SLOWER * recipe.learning_rate,
        schedule=Schedule.COSINE,
        average_epochs=0.0,
        distillation=0.0,
        mixed_precision=False,
    )


def fake_quantized(model: keras.Model, graph: LayerGraph) -> keras.Model:
    """Returns a model that computes as the int8 file of `model` will.

    It has the variables of `model`, so training it trains that. Ranges of feature maps are those of the batch; the converter
    will take them from representative images.

    Args:
        model: Built from `graph` with one input.
        graph: The network, with its plan applied.
    """
    written = {operator.output for operator in lower(graph)}
    tensors: dict[str, Any] = {}
    inputs = None
    for layer in graph:
        if layer.op == "InputLayer":
            inputs = keras.Input(layer.output_shape, name=layer.name)
            tensors[layer.name] = _Rounded(name=f"{layer.name}_rounded")(inputs)
            continue
        made = model.get_layer(layer.shares or layer.name)
        given = [tensors[name] for name in layer.inputs]
        if any(_is_kernel(variable) for variable in made.trainable_variables):
            made = _RoundedKernels(made, name=f"{layer.name}_rounded_kernels")
        outputs = made(given[0] if len(given) == 1 else given)
        tensors[layer.name] = _Rounded(name=f"{layer.name}_rounded")(outputs) if layer.name in written else outputs
    return keras.Model(inputs, tensors[graph.outputs[0]], name=model.name)


class _Rounded(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Rounds a tensor to 256 values between its least and its greatest, 0 among them."""

    def call(self, inputs: Any) -> Any:
        low = ops.minimum(ops.min(inputs), 0.0)
        scale = ops.maximum(ops.max(inputs) - low, _SMALLEST) / _LEVELS
        zero = ops.round(-low / scale)
        rounded = (ops.clip(ops.round(inputs / scale) + zero, 0.0, _LEVELS) - zero) * scale
        return inputs + ops.stop_gradient(rounded - inputs)


class _RoundedKernels(keras.layers.Layer):  # type: ignore[misc]
    """Calls a layer with its kernels rounded to 255 values, 0 in their middle, channel by channel."""

    def __init__(self, layer: keras.layers.Layer, name: str) -> None:
        super().__init__(name=name)
        self.layer = layer
        self.built = True

    def call(self, inputs: Any) -> Any:
        axes = _ACROSS.get(type(self.layer).__name__)
        # Within the scope every variable has to have its value: that of an outer scope, JAX's, is not looked up.
        values = [
            (variable, _rounded_kernel(variable, axes) if _is_kernel(variable) else variable.value)
            for variable in self.layer.variables
        ]
        with keras.StatelessScope(state_mapping=values):
            return self.layer(inputs)


def _is_kernel(variable: Any) -> bool:
    return str(variable.name).endswith("kernel")


def _rounded_kernel(variable: Any, axes: tuple[int, ...] | None) -> Any:
    kernel = ops.convert_to_tensor(variable.value)
    if variable.name == "depthwise_kernel":  # one of the two of a separable convolution
        axes = tuple(range(len(kernel.shape) - 2))
    across = axes or tuple(range(len(kernel.shape) - 1))
    scale = ops.maximum(ops.max(ops.abs(kernel), axis=across, keepdims=True), _SMALLEST) / _KERNEL_LEVELS
    return kernel + ops.stop_gradient(ops.round(kernel / scale) * scale - kernel)
