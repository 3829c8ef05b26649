"""Ranking networks without training them: SynFlow, ZiCo, NASWOT and their rank average.

Among networks that differ in widths alone (NATS-Bench-SSS) these follow the trained accuracy better than FLOPs do (Li et al.
2023, table 3). A score says nothing by itself, and mostly size among networks of different sizes: compare candidates for one
budget, by rank. Keras has no gradients of its own, so TensorFlow takes them. Models stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

_KERNELS: Final = frozenset({"kernel", "depthwise_kernel", "pointwise_kernel"})
_ACTIVATIONS: Final = frozenset({"ReLU", "LeakyReLU", "PReLU", "ELU"})


def synflow(model: keras.Model) -> float:
    """Returns the logarithm of the synaptic flow Σ |θ · ∂R/∂θ| over all kernels (Tanaka et al. 2020).

    R is the sum of the logits for an image of ones, with every weight replaced by its size; no data is needed. Flow grows with
    depth beyond single precision, so it is worked out in double.

    Args:
        model: Freshly initialised model, whose batch normalisations therefore change nothing.
    """
    positive = keras.models.clone_model(model, clone_function=_double_logits)
    positive.set_weights([np.abs(weight) for weight in model.get_weights()])
    kernels = _kernels(positive)
    with tf.GradientTape() as tape:
        flow = tf.reduce_sum(positive(tf.ones((1, *positive.input_shape[1:]), tf.float64), training=False))
    gradients = tape.gradient(flow, kernels)
    return math.log(sum(float(tf.reduce_sum(tf.abs(kernel * slope))) for kernel, slope in zip(kernels, gradients, strict=True)))


def zico(model: keras.Model, images: NDArray[np.float32], labels: NDArray[np.integer[Any]], *, batches: int = 2) -> float:
    """Returns how steady gradients are across batches: Σ over layers of log Σ mean|g| / std|g| (Li et al. 2023).

    Args:
        model: Freshly initialised model that returns logits.
        images: Images of all batches together.
        labels: Their classes.
        batches: Into how many batches they are divided, at least 2.
    """
    kernels = _kernels(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sizes = []
    for batch in np.array_split(np.arange(len(images)), batches):
        with tf.GradientTape() as tape:
            value = loss(labels[batch], model(images[batch], training=False))
        sizes.append([np.abs(slope.numpy()) for slope in tape.gradient(value, kernels)])
    score = 0.0
    for layer in zip(*sizes, strict=True):
        mean, deviation = np.mean(layer, axis=0), np.std(layer, axis=0)
        steady = float(np.sum(mean[deviation > 0] / deviation[deviation > 0]))
        score += math.log(steady) if steady > 0 else 0.0  # a layer without a gradient says nothing
    return score


def naswot(model: keras.Model, images: NDArray[np.float32]) -> float:
    """Returns log |det K|, where K counts the units on which two images agree about being active (Mellor et al. 2021).

    Args:
        model: Freshly initialised model with rectifying activations.
        images: One batch; more images tell networks further apart.
    """
    taps = [layer.output for layer in model.layers if _rectifies(layer)]
    kernel = np.zeros((len(images), len(images)))
    for values in keras.Model(model.input, taps)(images, training=False):
        active = np.reshape(values.numpy() > 0, (len(images), -1)).astype(np.float64)
        kernel += active @ active.T + (1 - active) @ (1 - active).T
    return float(np.linalg.slogdet(kernel)[1])


def rank_average(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the mean rank of every candidate under several proxies: from 0, the worst, to candidates - 1, the best.

    Args:
        scores: Scores by candidate, one mapping per proxy, all with the same candidates. Candidates of equal score share the
            mean of their ranks.
    """
    return {name: fmean(_rank(proxy, name) for proxy in scores) for name in scores[0]}


def _rank(scores: Mapping[str, float], name: str) -> float:
    own = scores[name]
    below = sum(score < own for score in scores.values())
    equal = sum(score == own for score in scores.values())
    return below + (equal - 1) / 2


def _kernels(model: keras.Model) -> list[Any]:
    return [weight.value for layer in model.layers for weight in layer.trainable_weights if weight.name in _KERNELS]


class _Logits(keras.layers.Layer):  # type: ignore[misc]  # Keras is untyped
    """Stands in for a softmax and is called as one."""

    def call(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002  Softmax is called with a mask
        return inputs


def _double_logits(layer: keras.Layer) -> keras.Layer:
    """Returns the layer in double precision, without softmax, whose sum is always 1."""
    config = {**layer.get_config(), "dtype": "float64"}
    if isinstance(layer, keras.layers.Softmax):
        return _Logits(name=layer.name, dtype="float64")
    if config.get("activation") == "softmax":
        config["activation"] = "linear"
    return type(layer).from_config(config)


def _rectifies(layer: keras.Layer) -> bool:
    activation = layer.get_config().get("activation", "linear")
    return type(layer).__name__ in _ACTIVATIONS or activation not in ("linear", "softmax")
