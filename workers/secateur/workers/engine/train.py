"""Training: a recipe applied to a network, the best epoch on the validation split kept, resumable after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from secateur.core.errors import FailedPrecondition
from secateur.core.specs import Recipe
from secateur.store.memory import keep_freed_memory
from secateur.workers.engine.checkpoints import Checkpoint
from secateur.workers.engine.datasets import Data
from secateur.workers.engine.feeding import feeder
from secateur.workers.engine.precision import half_precision, has_gpu
from secateur.workers.engine.recalibrate import statistics_over
from secateur.workers.engine.records import Epoch, Step, Training
from secateur.workers.engine.schedules import optimizer_of
from secateur.workers.engine.targets import Distilled, Teacher, distilled_accuracy, with_teacher

RESTARTS: Final = 2
"""How often a training that diverges starts over, each time at a lower rate."""
_LARGEST_LOSS: Final = 1_000.0
"""Mean loss of an epoch above which a training has diverged: guessing among a thousand classes costs 7. Where batch norm hides
that weights grow without bound it stays finite, and the network cannot be converted for a device."""
_ANSWERS: Final = 200
"""Images that must not all get the same answer: of a network whose units are dead, LiteRT cannot run the int8 file."""
_SLOWER: Final = 0.3
_STEP_SECONDS: Final = 5.0
"""Steps are reported no more often than this: every report is an event of the job that is kept."""


def train(
    model: keras.Model,
    data: Data,
    recipe: Recipe,
    *,
    seed: int,
    probabilities: bool = False,
    teacher: keras.Model | None = None,
    resume: Checkpoint | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    on_step: Callable[[Step], None] = lambda _: None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
) -> Training:
    """Trains the model in place and leaves it with the weights of its best epoch on the validation split.

    The test split is not looked at. On one machine's CPU the same model, data, recipe and seed give the same result, whether
    or not the training was interrupted and resumed. A training that diverges starts over at a lower rate, at most
    `RESTARTS` times: one whose loss stops being a finite number, or is absurdly high over an epoch, or whose network answers
    the same to every image.

    Args:
        model: Freshly built; input (n, height, width, channels), output (n, classes).
        data: The splits.
        recipe: How to train.
        seed: Seed of shuffling, augmentation and of layers that draw numbers, below 2**32.
        probabilities: Whether the model returns probabilities instead of logits.
        teacher: Trained model of the same input and output whose answers count by `recipe.distillation`; None for none.
        resume: The last checkpoint of an interrupted training with the same arguments.
        on_epoch: Called after every epoch; what it raises ends the training.
        on_step: Called after some steps, every few seconds.
        on_checkpoint: Given a checkpoint after every epoch; None makes none.

    Raises:
        FailedPrecondition: TRAINING_DIVERGED, if it does even at the lowest rate.
        InvalidArgument: CHECKPOINT_MISMATCH, if the checkpoint is of another training.
    """
    checkpoint = resume
    restarts = checkpoint.restarts if checkpoint else 0
    fresh = model.get_weights()
    while True:
        rate = recipe.learning_rate * _SLOWER**restarts
        run = _Run(model, data, recipe, rate, restarts, seed, probabilities, teacher, on_epoch, on_step, on_checkpoint)
        halved = recipe.mixed_precision and has_gpu()
        try:
            with half_precision(model) if halved else nullcontext(), statistics_over(model, run.steps):
                return run.fit(checkpoint)
        except _DivergedError as diverged:
            if restarts == RESTARTS:
                raise FailedPrecondition(
                    "TRAINING_DIVERGED",
                    f"The training diverged in epoch {diverged.epoch}, even at a learning rate of {rate:g}: {diverged.sign}; "
                    f"lower it further. Received: loss={diverged.loss:g}",
                    field="recipe.learning_rate",
                ) from None
            restarts, checkpoint = restarts + 1, None
            model.set_weights(fresh)


def best_epoch(epochs: Sequence[Epoch]) -> Epoch:
    """Returns the epoch of the lowest validation loss; of equals, the first.

    Not the one with the highest validation accuracy: that of a small split takes few values, and its maximum is often luck.
    """
    return min(epochs, key=lambda epoch: epoch.validation_loss)


class _DivergedError(Exception):
    def __init__(self, epoch: int, loss: float, sign: str = "the loss grew without bound") -> None:
        super().__init__(f"epoch {epoch}, loss {loss}, {sign}")
        self.epoch = epoch
        self.loss = loss
        self.sign = sign


@dataclass(frozen=True, slots=True)
class _Run:
    """One go at a training; the fields are the arguments of `train`, with the learning rate and the number of restarts."""

    model: keras.Model
    data: Data
    recipe: Recipe
    learning_rate: float
    restarts: int
    seed: int
    probabilities: bool
    teacher: keras.Model | None
    on_epoch: Callable[[Epoch], None]
    on_step: Callable[[Step], None]
    on_checkpoint: Callable[[Checkpoint], None] | None

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return len(self.data.train) // min(self.recipe.batch_size, len(self.data.train))

    def fit(self, checkpoint: Checkpoint | None) -> Training:
        """Trains to the end and leaves the model with the weights of the best epoch."""
        recipe, data = self.recipe, self.data
        if checkpoint and checkpoint.finished:
            return self._ended(checkpoint.epochs, checkpoint.best)
        keras.utils.set_random_seed(self.seed)
        train, validation = len(data.train), len(data.validation)
        labels = np.eye(self.model.output_shape[-1], dtype=np.float32)[
            np.concatenate([data.train.labels, data.validation.labels])
        ]
        batches = _Batches(labels[:train], recipe.batch_size, self.seed, done=len(checkpoint.epochs) if checkpoint else 0)
        images = feeder(np.concatenate([data.train.pixels, data.validation.pixels]), recipe.augmentation, seed=self.seed)
        trainee = self._trainee(images)
        optimizer = optimizer_of(
            recipe,
            self.learning_rate,
            steps=recipe.epochs * self.steps,
            average_steps=round(recipe.average_epochs * self.steps),
        )
        # TensorFlow traces a step that creates variables twice, which takes seconds for a deep network. So none may.
        optimizer.build(trainee.trainable_variables)
        trainee.compile(
            optimizer=optimizer,
            loss=self._loss(),
            metrics=[distilled_accuracy() if self.teacher else keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile=_compiles(),
        )
        state = [*self.model.variables, *images.get_layer("augment").variables, *optimizer.variables]
        keeper = _Keeper(self, state, batches.size)
        if checkpoint:
            checkpoint.restore(state)
            keeper.resume(checkpoint)
        # The keeper comes before the callback that swaps averaged weights out again after a validation.
        averaging = [keras.callbacks.SwapEMAWeights()] if recipe.average_epochs else []
        trainee.fit(
            batches,
            epochs=recipe.epochs,
            initial_epoch=len(keeper.epochs),
            validation_data=(np.arange(train, train + validation, dtype=np.int32), labels[train:]),
            validation_batch_size=max(recipe.batch_size, 256),
            callbacks=[keeper, *averaging],
            shuffle=False,
            verbose=0,
        )
        return self._ended(tuple(keeper.epochs), keeper.best_weights)

    def _ended(self, epochs: tuple[Epoch, ...], best_weights: list[NDArray[Any]]) -> Training:
        self.model.set_weights(best_weights)
        best = best_epoch(epochs)
        answers = np.asarray(self.model(self.data.validation.first(_ANSWERS), training=False))
        if len(answers) > 1 and not np.ptp(answers, axis=0).any():
            raise _DivergedError(best.number, best.loss, "every image gets the same answer")
        return Training(epochs, best, self.restarts)

    def _trainee(self, images: keras.Model) -> keras.Model:
        """Returns the model from indices to what the loss is about. It shares its weights with the model to be trained."""
        outputs = self.model(images.output)
        if self.teacher:
            outputs = with_teacher(outputs, Teacher(self.teacher)(images.output), probabilities=self.probabilities)
        return keras.Model(images.input, outputs)

    def _loss(self) -> keras.losses.Loss:
        if self.teacher:
            return Distilled(self.recipe.distillation, self.recipe.label_smoothing)
        return keras.losses.CategoricalCrossentropy(
            from_logits=not self.probabilities, label_smoothing=self.recipe.label_smoothing
        )


def _compiles() -> bool:
    """Whether XLA pays. On a CPU it takes TensorFlow longer to compile a network than a short training does without it."""
    return keras.backend.backend() == "jax" or has_gpu()


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """Batches of indices in a new order every epoch, which depends on seed and epoch alone. What is left over is left out."""

    def __init__(self, labels: NDArray[np.float32], batch_size: int, seed: int, *, done: int) -> None:
        super().__init__()
        self.size = min(batch_size, len(labels))
        self._labels = labels
        self._seed = seed
        self._epoch = done
        self._order = self._shuffled()

    def __len__(self) -> int:
        return len(self._labels) // self.size

    def __getitem__(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        rows = self._order[index * self.size : (index + 1) * self.size]
        return rows, self._labels[rows]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._order = self._shuffled()

    def _shuffled(self) -> NDArray[np.int32]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(len(self._labels))
        return order.astype(np.int32)


class _Keeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports steps and epochs, makes checkpoints, and keeps the weights of the best epoch."""

    def __init__(self, run: _Run, state: list[Any], batch_size: int) -> None:
        super().__init__()
        self.epochs: list[Epoch] = []
        self._run = run
        self._state = state
        self._steps = run.steps
        self._batch_size = batch_size
        self._began = self._reported = self._started = self._trained = 0.0
        self._validated: list[NDArray[Any]] = []
        self.best_weights: list[NDArray[Any]] = []

    def resume(self, checkpoint: Checkpoint) -> None:
        """Goes on from what the checkpoint had reached."""
        self.epochs, self.best_weights = list(checkpoint.epochs), checkpoint.best

    @property
    def _is_done(self) -> bool:
        patience = self._run.recipe.patience
        stalled = bool(patience) and len(self.epochs) - best_epoch(self.epochs).number >= patience
        return len(self.epochs) == self._run.recipe.epochs or stalled

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 -- Keras's signature
        self._began = self._reported = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.perf_counter()
        self._trained = now - self._began
        if batch == 0:
            self._started = self._trained
            # TensorFlow's generator datasets, through which Keras feeds batches, undo it when they start.
            keep_freed_memory()
        if batch == 0 or now - self._reported < _STEP_SECONDS:  # how fast it goes shows with the second step
            return  # reading the loss waits for the device
        self._reported = now
        loss = float(logs["loss"])
        if not math.isfinite(loss):  # and so it stays until the epoch ends
            raise _DivergedError(len(self.epochs) + 1, loss)
        done = batch + 1
        epochs_left = self._run.recipe.epochs - len(self.epochs) - done / self._steps
        step = Step(
            number=done,
            of=self._steps,
            epochs=self._run.recipe.epochs,
            loss=loss,
            images_per_second=self._images_per_second(done),
            learning_rate=float(self.model.optimizer.learning_rate),
            eta_seconds=epochs_left
            * (self._typical_seconds() or self._steps * self._batch_size / self._images_per_second(done)),
            before=self.epochs[-1] if self.epochs else None,
        )
        self._run.on_step(step)

    def on_test_end(self, logs: Any = None) -> None:  # noqa: ARG002
        self._validated = self._run.model.get_weights()  # averaged ones, where weights are averaged

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not logs["loss"] <= _LARGEST_LOSS:  # nor is a NaN
            raise _DivergedError(epoch + 1, logs["loss"])
        seconds = time.perf_counter() - self._began
        epochs = self._run.recipe.epochs
        finished = Epoch(
            number=epoch + 1,
            of=epochs,
            steps=self._steps,
            loss=float(logs["loss"]),
            accuracy=float(logs["val_accuracy"]),
            validation_loss=float(logs["val_loss"]),
            learning_rate=float(self.model.optimizer.learning_rate),
            images_per_second=self._images_per_second(self._steps),
            seconds=seconds,
            eta_seconds=self._typical_seconds(seconds - self._started) * (epochs - epoch - 1),
        )
        self.epochs.append(finished)
        if best_epoch(self.epochs) is finished:
            self.best_weights = self._validated
        self._run.on_epoch(finished)
        self.model.stop_training = done = self._is_done
        if self._run.on_checkpoint:
            variables = [] if done else [variable.numpy() for variable in self._state]
            self._run.on_checkpoint(Checkpoint(variables, self.best_weights, tuple(self.epochs), self._run.restarts))

    def _images_per_second(self, steps: int) -> float:
        if steps == 1:
            return self._batch_size / self._trained
        # The first step compiles where nothing has been compiled yet.
        return (steps - 1) * self._batch_size / (self._trained - self._started)

    def _typical_seconds(self, *last: float) -> float:
        """Returns the median of all epochs but the first, which compiled and tells little of the others; 0 where none ended."""
        return float(np.median([epoch.seconds for epoch in self.epochs[1:]] + [*last] or [0.0]))
