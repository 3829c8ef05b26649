"""What a student is trained towards: the labels and the answers of its teacher."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from secateur.workers.engine.targets import TEMPERATURE, Distilled, distilled_accuracy, with_teacher

FLOATS = NDArray[np.float32]
STUDENT = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]], np.float32)
TEACHER = np.array([[5.0, 1.0, -3.0], [2.0, -1.0, 4.0]], np.float32)
LABELS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)


def softmax(logits: FLOATS) -> FLOATS:
    powers = np.exp(logits)
    found: FLOATS = powers / powers.sum(axis=-1, keepdims=True)
    return found


def losses(weight: float, smoothing: float = 0.0, student: FLOATS = STUDENT, *, probabilities: bool = False) -> FLOATS:
    joined = with_teacher(student, softmax(TEACHER) if probabilities else TEACHER, probabilities=probabilities)
    return np.asarray(Distilled(weight, smoothing).call(LABELS, joined))


def test_the_labels_count_as_smoothed_cross_entropy() -> None:
    smoothed = 0.7 * LABELS + 0.3 / 3
    expected = -(smoothed * np.log(softmax(STUDENT))).sum(axis=-1)
    np.testing.assert_allclose(losses(0.0, 0.3), expected, rtol=1e-5)


def test_the_teacher_counts_as_divergence_of_softened_answers() -> None:
    theirs, ours = softmax(TEACHER / TEMPERATURE), softmax(STUDENT / TEMPERATURE)
    expected = TEMPERATURE**2 * (theirs * np.log(theirs / ours)).sum(axis=-1)
    np.testing.assert_allclose(losses(1.0), expected, rtol=1e-5)
    np.testing.assert_allclose(losses(1.0, student=TEACHER), 0, atol=1e-5)


def test_a_weight_shares_between_both() -> None:
    np.testing.assert_allclose(losses(0.25, 0.1), 0.75 * losses(0.0, 0.1) + 0.25 * losses(1.0), rtol=1e-5)


def test_probabilities_say_the_same_as_logits_and_none_is_too_small() -> None:
    found = losses(0.5, student=softmax(STUDENT), probabilities=True)
    np.testing.assert_allclose(found, losses(0.5), rtol=1e-4)
    assert np.isfinite(losses(0.5, student=LABELS[::-1], probabilities=True)).all()


def test_accuracy_is_that_of_the_student() -> None:
    metric = distilled_accuracy()
    metric.update_state(LABELS, with_teacher(STUDENT, TEACHER, probabilities=False))
    assert float(metric.result()) == 1
    metric.reset_state()
    metric.update_state(LABELS, with_teacher(TEACHER, STUDENT, probabilities=False))
    assert float(metric.result()) == pytest.approx(0.5)
