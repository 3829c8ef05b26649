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

from secateur.core.errors import FailedPrecondition
from secateur.workers.engine.datasets import Split

BATCHES: Final = 2
"""Over how many batches ZiCo compares gradients, as its authors do."""
BATCH_SIZE: Final = 32
"""Images per batch of `proxy_scores`."""

_FLOAT = NDArray[np.floating[Any]]
_KERNELS: Final = frozenset({"kernel", "depthwise_kernel", "pointwise_kernel"})
_ACTIVATIONS: Final = frozenset({"Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax"})
"""Layers that are an activation and nothing else."""
_WITHOUT_SIGN: Final = frozenset({None, "linear", "softmax", "sigmoid", "hard_sigmoid", "exponential", "softplus"})
"""Activations whose sign is no code: it is always positive, or not the activation's doing."""
_SHRINK: Final = 1e-100
"""Factor on the input and on the output of the flow, which is linear in both: room for networks far beyond 300 layers."""


def proxy_scores(model: keras.Model, train: Split, *, probabilities: bool = False) -> dict[str, float]:
    """Returns all scores of a network; the higher, the better.

    Args:
        model: Freshly initialised, one input and one output. Its weights stay as they are; it is compiled anew.
        train: The training split, of which the first `BATCHES * BATCH_SIZE` images are looked at.
        probabilities: Whether the model returns probabilities instead of logits.

    Raises:
        FailedPrecondition: DOUBLE_PRECISION_NEEDED; see `synflow`.
    """
    images, labels = train.images[: BATCHES * BATCH_SIZE], train.labels[: BATCHES * BATCH_SIZE]
    return {
        "synflow": synflow(model),
        "zico": zico(model, images, labels, probabilities=probabilities),
        "naswot": naswot(model, images[:BATCH_SIZE]),
    }


def synflow(model: keras.Model) -> float:
    """Returns log10 of the synaptic flow, the sum of |θ · ∂R/∂θ| over all kernels (Tanaka et al. 2020).

    R is the sum of the logits for an image of ones, with every weight replaced by its size and every activation by the
    identity, which on a flow that is never negative is what a rectifier is. Batch normalisation and dropout work as after
    training, so fresh ones change nothing. No data is needed. The flow grows exponentially with depth, beyond what single
    precision can hold.

    Args:
        model: Freshly initialised model with one input and one output.

    Raises:
        FailedPrecondition: DOUBLE_PRECISION_NEEDED, where the backend has none.
    """
    _check_double_precision()
    start = keras.Input(model.input_shape[1:], dtype="float64")
    positive = keras.models.clone_model(model, input_tensors=start, clone_function=_linear_and_double)
    positive.set_weights([np.abs(weight) for weight in model.get_weights()])
    flow = _Flow(positive)
    gradients = _Gradients()
    flow.compile(optimizer=gradients, run_eagerly=True, jit_compile=False)
    flow.train_on_batch(np.ones((1, *model.input_shape[1:]), np.float32))
    total = sum(
        float(np.sum(np.abs(gradient * kernel)))
        for gradient, kernel in zip(
            gradients.of_kernels(positive), (kernel.numpy() for kernel in _kernels(positive)), strict=True
        )
    )
    return math.log10(total) - 2 * math.log10(_SHRINK) if total > 0 else 0.0


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
        super().__init__(dtype="float64")
        self.network = network

    def call(self, inputs: Any) -> Any:
        return self.network(keras.ops.cast(inputs, "float64") * _SHRINK, training=False)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:  # noqa: ARG002 -- Keras's signature
        return keras.ops.sum(y_pred) * _SHRINK


def _linear_and_double(layer: keras.Layer) -> keras.Layer:
    """Returns the layer in double precision with the identity for its activation."""
    if type(layer).__name__ in _ACTIVATIONS:
        # PReLU has weights, which would be missing from the clone's; of a positive input it is the identity anyway.
        config = {"name": layer.name, "dtype": "float64"}
        return type(layer).from_config({**layer.get_config(), **config}) if layer.weights else _identity(config)
    config = {**layer.get_config(), "dtype": "float64"}
    if "activation" in config:
        config["activation"] = "linear"
    return type(layer).from_config(config)


def _identity(config: dict[str, Any]) -> keras.Layer:
    return keras.layers.Activation("linear", **config)


def _has_sign(layer: keras.Layer) -> bool:
    kind = type(layer).__name__
    if kind in _ACTIVATIONS - {"Activation"}:
        return kind != "Softmax"
    return layer.get_config().get("activation") not in _WITHOUT_SIGN


def _kernels(model: keras.Model) -> list[Any]:
    return [weight for weight in model.trainable_weights if weight.name in _KERNELS]


@contextmanager
def _unchanged(model: keras.Model) -> Iterator[None]:
    """Gives the model its weights back at the end: a training step moves the statistics of normalisations."""
    weights = model.get_weights()
    try:
        yield
    finally:
        model.set_weights(weights)


def _check_double_precision() -> None:
    if keras.ops.dtype(keras.ops.zeros((), "float64")) != "float64":
        raise FailedPrecondition(
            "DOUBLE_PRECISION_NEEDED",
            "SynFlow exceeds single precision. With JAX, set JAX_ENABLE_X64=1. "
            f"Received: backend {keras.backend.backend()} without float64",
        )
