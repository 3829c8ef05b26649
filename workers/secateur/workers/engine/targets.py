"""What training aims at: labels, and the answers of a teacher where there is one."""

from __future__ import annotations

from typing import Any, Final

import keras
from keras import ops

TEMPERATURE: Final = 4.0
"""Softens both sides of distillation, so that the teacher's small probabilities count (Hinton et al., arXiv 1503.02531)."""
_SMALLEST: Final = 1e-7


class Teacher(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Answers of a trained network, the same whether or not the network around it is being trained.

    Hence this layer: where one network is called within another, Keras overrides the inner `training=False` with how the outer
    one is called, so dropout would be active in both.

    Args:
        model: The trained network; it can be trained no more.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(name="teacher")
        self.model = model
        self.trainable = False

    def call(self, images: Any) -> Any:
        """Returns outputs of shape (batch, classes)."""
        return self.model(images, training=False)


def with_teacher(student: Any, teacher: Any, *, probabilities: bool) -> Any:
    """Joins outputs of shape (batch, classes) into one of log-probabilities, (batch, 2 x classes), for `Distilled`."""
    return ops.concatenate([_log(student, probabilities), ops.stop_gradient(_log(teacher, probabilities))], axis=-1)


def _log(outputs: Any, probabilities: bool) -> Any:
    outputs = ops.cast(outputs, "float32")
    return ops.log(ops.maximum(outputs, _SMALLEST)) if probabilities else ops.log_softmax(outputs)


class Distilled(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy with the labels, and with the softened answers of a teacher (Hinton et al., arXiv 1503.02531).

    Args:
        weight: Share of the teacher, in [0, 1].
        label_smoothing: Of the labels.
    """

    def __init__(self, weight: float, label_smoothing: float) -> None:
        super().__init__(name="distilled")
        self._weight = weight
        self._labels = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing, reduction=None)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns losses of shape (batch,) for labels of shape (batch, classes) and what `with_teacher` returned."""
        student, teacher = ops.split(y_pred, 2, axis=-1)
        softened = ops.softmax(teacher / TEMPERATURE)
        apart = ops.log_softmax(teacher / TEMPERATURE) - ops.log_softmax(student / TEMPERATURE)
        soft = TEMPERATURE**2 * ops.sum(softened * apart, axis=-1)
        return (1 - self._weight) * self._labels(y_true, student) + self._weight * soft


def distilled_accuracy() -> keras.metrics.Metric:
    """Makes the metric "accuracy" of the student within what `with_teacher` returned."""

    def accuracy(y_true: Any, y_pred: Any) -> Any:
        return keras.metrics.categorical_accuracy(y_true, ops.split(y_pred, 2, axis=-1)[0])

    return keras.metrics.MeanMetricWrapper(accuracy, name="accuracy")
