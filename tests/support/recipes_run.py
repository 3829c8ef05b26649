"""Trains the digits by every recipe on the backend of this process, and prints what came of it.

Keras chooses its backend once per process, so `python -m tests.support.recipes_run` is how a test sees another one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

import keras
import numpy as np

from secateur.core import datasets, recipes
from secateur.core.graph import LayerGraph
from secateur.core.graph.assembly import Builder
from secateur.core.specs import Augmentation
from secateur.workers.engine import qat
from secateur.workers.engine.build import build_model
from secateur.workers.engine.checkpoints import Checkpoint
from secateur.workers.engine.datasets import Data, load
from secateur.workers.engine.train import train


@dataclass(frozen=True)
class Outcome:
    """What one recipe came to.

    Args:
        accuracies: On the test split, by recipe.
        rounded_accuracy: On the test split, of a network fine-tuned with rounded weights and feature maps, computing rounded.
        rounding_trains: Whether that fine-tuning changed every kernel of the network.
        resumed_alike: Whether a training that was interrupted after its first epoch ended with the same weights and epochs.
    """

    accuracies: dict[str, float]
    rounded_accuracy: float
    rounding_trains: bool
    resumed_alike: bool


def outcome(data: Data, *, epochs: int = 5) -> Outcome:
    """Trains a very small network by every recipe, fine-tunes one for int8, and trains once more in two parts.

    Args:
        data: The digits.
        epochs: Of every training.
    """
    trained: dict[str, keras.Model] = {}
    for name in recipes.RECIPES:
        recipe = recipes.resolve(name, datasets.get("digits"), epochs=epochs, batch_size=32)
        model = _fresh()
        train(model, data, recipe, seed=0, teacher=trained[recipes.DEFAULT] if recipe.distillation else None)
        trained[name] = model
    accuracies = {name: _accuracy(model, data) for name, model in trained.items()}
    return Outcome(accuracies, *_rounded(trained["finetune"], data), _resumes_alike(data))  # a teacher can be trained no more


def _rounded(model: keras.Model, data: Data) -> tuple[float, bool]:
    kernels = [variable for variable in model.trainable_variables if variable.name == "kernel"]
    before = [np.array(kernel.numpy()) for kernel in kernels]
    rounded = qat.fake_quantized(model, _tiny())
    train(rounded, data, qat.recipe_for(recipes.resolve(epochs=1)), seed=0)
    after = [kernel.numpy() for kernel in kernels]
    moved = [not np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    return _accuracy(rounded, data), bool(moved) and all(moved)


def _resumes_alike(data: Data) -> bool:
    recipe = replace(recipes.resolve(epochs=3), augmentation=Augmentation(flip=True, crop=1, cutout=2))
    model, again, kept = _fresh(), _fresh(), list[bytes]()
    whole = train(model, data, recipe, seed=0, on_checkpoint=lambda made: kept.append(made.write()))
    rest = train(again, data, recipe, seed=0, resume=Checkpoint.read(kept[0]))
    same_weights = all(np.array_equal(*pair) for pair in zip(model.get_weights(), again.get_weights(), strict=True))
    return same_weights and [epoch.loss for epoch in whole.epochs] == [epoch.loss for epoch in rest.epochs]


def _fresh() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(_tiny())


def _tiny() -> LayerGraph:
    net = Builder("tiny", (8, 8, 1))
    net.add("Conv2D", "conv", filters=16, kernel_size=3, use_bias=False)
    net.add("BatchNormalization", "bn")
    net.add("ReLU", "relu")
    net.add("Dropout", "dropout", rate=0.1)  # draws numbers, whose state a checkpoint has to hold as well
    net.add("Flatten", "flatten")
    net.add("Dense", "logits", units=10)
    return net.build()


def _accuracy(model: keras.Model, data: Data) -> float:
    outputs = np.asarray(model.predict(data.test.images, verbose=0))
    return float((outputs.argmax(axis=1) == data.test.labels).mean())


if __name__ == "__main__":
    print(json.dumps(asdict(outcome(load("digits", seed=0, validation_fraction=0.1)))))
