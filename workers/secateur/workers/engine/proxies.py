"""Scores of networks that nobody has trained: SynFlow, ZiCo and NASWOT.

Among networks that differ in their widths alone (NATS-Bench-SSS) these follow the trained accuracy better than FLOPs do, and,
unlike the number of parameters, also among networks of one size (Li et al. 2023, table 3). A score says nothing by itself:
candidates for one budget are compared by rank.

Keras has no gradients of its own that every backend understands. So a training step is run with an optimizer that writes the
gradients down instead of following them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from secateur.workers.engine.datasets import Split

BATCHES: Final = 2
"""Over how many batches ZiCo compares gradients, as its authors do."""
BATCH_SIZE: Final = 32
"""Images per batch of `proxy_scores`."""

_FLOAT = NDArray[np.floating[Any]]
_KERNELS: Final = frozenset({"kernel", "depthwise_kernel", "pointwise_kernel"})
_ACTIVATIONS: Final = frozenset({"Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax"})
"""Layers that are an activation and nothing else."""
_NORMALISATIONS: Final = frozenset(
    {"BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization", "Normalization"}
)
_WITHOUT_SIGN: Final = frozenset({None, "linear", "softmax", "sigmoid", "hard_sigmoid", "exponential", "softplus"})
"""Activations whose sign is no code: it is always positive, or not the activation's doing."""
_PRODUCTS: Final = frozenset({"Multiply", "Dot"})


def proxy_scores(model: keras.Model, train: Split, *, probabilities: bool = False) -> dict[str, float]:
    """Returns all scores of a network; the higher, the better.

    Args:
        model: Freshly initialised, one input and one output. Its weights stay as they are; it is compiled anew.
        train: The training split, of which the first `BATCHES * BATCH_SIZE` images are looked at.
        probabilities: Whether the model returns probabilities instead of logits.
    """
    images, labels = train.images[: BATCHES * BATCH_SIZE], train.labels[: BATCHES * BATCH_SIZE]
    return {
        "synflow": synflow(model),
        "zico": zico(model, images, labels, probabilities=probabilities),
        "naswot": naswot(model, images[:BATCH_SIZE]),
    }


def synflow(model: keras.Model) -> float:
    """Returns log10 of the synaptic flow, the sum of |θ · ∂R/∂θ| over all kernels (Tanaka et al. 2020).

    R is the sum of the logits for an image of ones, with every weight replaced by its size and every activation and
    normalisation by the identity: on a flow that is never negative, a rectifier does nothing, and a normalisation would undo
    what is to be measured. Dropout works as after training, not at all. Offsets do not count, and no data is needed. A
    network without any flow has 0.

    Args:
        model: Freshly initialised model with one input and one output.
    """
    rescaling = _Rescaling(model)
    positive = keras.models.clone_model(model, clone_function=_linear, call_function=rescaling)
    for layer in positive.layers:
        if layer.weights:
            layer.set_weights(rescaling.weights(layer.name))
    flow, gradients = _Flow(positive), _Gradients()
    flow.compile(optimizer=gradients, run_eagerly=True, jit_compile=False)
    flow.train_on_batch(np.ones((1, *model.input_shape[1:]), np.float32))
    total = sum(
        float(np.sum(np.abs(gradient * kernel.numpy()), dtype=np.float64))
        for gradient, kernel in zip(gradients.of_kernels(positive), _kernels(positive), strict=True)
    )
    return math.log10(total) + rescaling.exponent(positive.output) if 0 < total < math.inf else 0.0


def zico(
    model: keras.Model,
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    batches: int = BATCHES,
    probabilities: bool = False,
) -> float:
    """Returns how steady the gradients are: the sum over layers of log Σ mean|g| / std|g| (Li et al. 2023).

    Mean and standard deviation are those of one weight's gradient over the batches. Weights whose gradient is the same for
    all batches, and layers with none but these, say nothing and do not count.

    Args:
        model: Freshly initialised. Its weights stay as they are; it is compiled anew.
        images: Images of all batches together.
        labels: Their classes.
        batches: Into how many batches they are divided, at least 2.
        probabilities: Whether the model returns probabilities instead of logits.
    """
    gradients = _Gradients()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)
    model.compile(optimizer=gradients, loss=loss, run_eagerly=True, jit_compile=False)
    found = []
    with _unchanged(model):
        for batch in np.array_split(np.arange(len(labels)), batches):
            model.train_on_batch(images[batch], labels[batch])
            found.append([np.abs(gradient) for gradient in gradients.of_kernels(model)])
    score = 0.0
    for sizes in zip(*found, strict=True):
        mean, deviation = np.mean(sizes, axis=0), np.std(sizes, axis=0)
        steadiness = float(np.sum(mean[deviation > 0] / deviation[deviation > 0]))
        score += math.log(steadiness) if steadiness > 0 else 0.0
    return score


def naswot(model: keras.Model, images: NDArray[np.float32]) -> float:
    """Returns log det K, where K counts the units on which two images agree about being active (Mellor et al. 2021).

    K consists of whole numbers, so its determinant is 0 or at least 1. A network that cannot tell two images apart, or has no
    activation with a sign, scores 0, like the worst of the others.

    Args:
        model: Freshly initialised. Its weights stay as they are.
        images: One batch; more images tell networks further apart.
    """
    taps = [layer.output for layer in model.layers if _has_sign(layer)]
    kernel = np.zeros((len(images), len(images)))
    if taps:
        with _unchanged(model):  # normalises by the batch, as in training
            outputs = keras.Model(model.input, taps)(images, training=True)
        for output in outputs:
            active = np.reshape(keras.ops.convert_to_numpy(output) > 0, (len(images), -1)).astype(np.float32)
            both, count = active @ active.T, active.sum(axis=1)
            kernel += active.shape[1] - count[:, np.newaxis] - count + 2 * both  # active in both, or in neither
    sign, logarithm = np.linalg.slogdet(kernel)
    return max(0.0, float(logarithm)) if sign > 0 else 0.0


class _Gradients(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras ships no types
    """Keeps the gradients of the last step and leaves the weights as they are."""

    def __init__(self) -> None:
        super().__init__(learning_rate=0.0)
        self._kept: list[Any] = []

    def build(self, variables: list[Any]) -> None:
        if not self.built:
            super().build(variables)
            self._kept = [self.add_variable_from_reference(variable, name="gradient") for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:  # noqa: ARG002 -- Keras's signature
        self.assign(self._kept[self._get_variable_index(variable)], gradient)

    def of_kernels(self, model: keras.Model) -> list[_FLOAT]:
        """Returns the last gradients of the kernels of a model, in its order."""
        return [self._kept[self._get_variable_index(kernel)].numpy() for kernel in _kernels(model)]


class _Flow(keras.Model):  # type: ignore[misc]
    """A network whose loss is the sum of its outputs, and which works as after training even in a training step."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, inputs: Any) -> Any:
        return self.network(inputs, training=False)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:  # noqa: ARG002 -- Keras's signature
        return keras.ops.sum(y_pred)


class _Rescaling:
    """Keeps the flow near 1 in every layer and remembers by how much, so that single precision is enough at any depth.

    All layers are linear in their kernels and in their inputs. So a kernel may be divided by what it multiplies the flow with
    on average, as long as all inputs of a merge are divided alike; then |θ · ∂R/∂θ| is divided by what R is.

    Args:
        model: The network whose layers are to be called.
    """

    def __init__(self, model: keras.Model) -> None:
        self._layers = {layer.name: layer for layer in model.layers}
        self._exponents: dict[int, tuple[Any, float]] = {}  # with the tensors, lest an id is used again

    def __call__(self, layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        """Calls a layer of the clone on tensors of the clone."""
        given = args[0] if isinstance(args[0], (list, tuple)) else [args[0]]
        exponents = [self.exponent(tensor) for tensor in given]
        if type(layer).__name__ in _PRODUCTS:
            exponent = sum(exponents)
        else:
            exponent = max(exponents) + math.log10(self._gain(layer.name))
            if len(given) > 1:
                alike = [tensor * 10 ** (own - max(exponents)) for tensor, own in zip(given, exponents, strict=True)]
                args = (alike, *args[1:])
        output = layer(*args, **kwargs)
        self._exponents[id(output)] = (output, exponent)
        return output

    def exponent(self, tensor: Any) -> float:
        """Returns log10 of what a tensor of the clone was divided by."""
        return self._exponents[id(tensor)][1] if id(tensor) in self._exponents else 0.0

    def weights(self, name: str) -> list[_FLOAT]:
        """Returns the weights of a layer for the clone: its kernels' sizes on average scale, and no offsets."""
        weights = self._layers[name].weights
        return [self._size(weight) / self._mean(weight) if _is_kernel(weight) else 0 * self._size(weight) for weight in weights]

    def _gain(self, name: str) -> float:
        return math.prod(self._mean(weight) for weight in self._layers[name].weights if _is_kernel(weight))

    def _mean(self, kernel: Any) -> float:
        """Returns the mean over the outputs of what they sum up; 1 for a kernel of zeros."""
        outputs = math.prod(kernel.shape[-2:]) if kernel.name == "depthwise_kernel" else kernel.shape[-1]
        return float(self._size(kernel).sum()) / outputs or 1.0

    def _size(self, weight: Any) -> _FLOAT:
        return np.abs(np.asarray(weight.numpy(), np.float64))


class _Identity(keras.layers.Layer):  # type: ignore[misc]
    """Stands in for an activation or a normalisation, and is called as one."""

    def call(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002  normalisations are called with a mask
        return inputs


def _linear(layer: keras.Layer) -> keras.Layer:
    """Returns a layer without its activation, or the identity in place of an activation or a normalisation."""
    config = layer.get_config()
    if type(layer).__name__ in _ACTIVATIONS | _NORMALISATIONS:
        return _Identity(name=layer.name)
    if "activation" in config:
        config["activation"] = "linear"
    return type(layer).from_config(config)


def _has_sign(layer: keras.Layer) -> bool:
    kind = type(layer).__name__
    if kind in _ACTIVATIONS - {"Activation"}:
        return kind != "Softmax"
    return layer.get_config().get("activation") not in _WITHOUT_SIGN


def _kernels(model: keras.Model) -> list[Any]:
    return [weight for weight in model.trainable_weights if _is_kernel(weight)]


def _is_kernel(weight: Any) -> bool:
    return weight.name in _KERNELS


@contextmanager
def _unchanged(model: keras.Model) -> Iterator[None]:
    """Gives the model its weights back at the end: a training step moves the statistics of normalisations."""
    weights = model.get_weights()
    try:
        yield
    finally:
        model.set_weights(weights)
