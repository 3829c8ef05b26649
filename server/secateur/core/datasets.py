"""Data sets as data: what the control plane must know to refuse a misfit before a worker sees it.

Registered sets are built in. A project uploads others; what a job trains on is then known by the content of the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph
from secateur.core.specs import Augmentation, JobSpec

TEST_FRACTION: Final = 0.2
"""Share of the images that becomes the test split of an uploaded set without one."""

_CONTENT: Final = "sha256:"


@dataclass(frozen=True, slots=True)
class DatasetName:
    """What a data set is called.

    Args:
        id: Its id: of a registered one among those, else within its project.
        project: Project that uploaded it; empty if it is registered.
    """

    id: str
    project: str = ""

    @classmethod
    def of(cls, spec: JobSpec, project: str) -> DatasetName:
        """Returns what the data set of a job of that project is called."""
        return cls(spec.dataset_id, project) if spec.dataset_id else cls(spec.dataset)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A set of labelled images.

    Args:
        name: Id, for example "digits".
        title: Name for people.
        input_shape: Shape of one image: height, width, channels.
        classes: Number of classes.
        train_images: Images of the training split, validation images included.
        test_images: Images of the test split.
        augmentation: What may be done to its images without changing their class.
        class_names: Name of every class, in the order of the labels; empty if they have none.
    """

    name: str
    title: str
    input_shape: tuple[int, int, int]
    classes: int
    train_images: int
    test_images: int
    augmentation: Augmentation = field(default_factory=Augmentation)
    class_names: tuple[str, ...] = ()


DATASETS: Final = {
    dataset.name: dataset
    for dataset in (
        Dataset("cifar10", "CIFAR-10", (32, 32, 3), 10, 50_000, 10_000, Augmentation(flip=True, crop=4, cutout=8)),
        Dataset("cifar100", "CIFAR-100", (32, 32, 3), 100, 50_000, 10_000, Augmentation(flip=True, crop=4, cutout=8)),
        # A mirrored 2 is none, and on 8x8 pixels a shift by one loses a line of the figure
        Dataset("digits", "scikit-learn's handwritten digits", (8, 8, 1), 10, 1_437, 360),
        Dataset("fashion_mnist", "Fashion-MNIST", (28, 28, 1), 10, 60_000, 10_000, Augmentation(flip=True, crop=2)),
    )
}
"""Registered data sets by id."""


def get(name: str) -> Dataset:
    """Returns the named data set.

    Raises:
        InvalidArgument: DATASET_UNKNOWN, naming the known ones.
    """
    if name not in DATASETS:
        raise InvalidArgument(
            "DATASET_UNKNOWN",
            f"There is no data set of that name; known: {', '.join(sorted(DATASETS))}. Received: {name}",
            field="dataset",
        )
    return DATASETS[name]


def content(digest: str) -> str:
    """Returns what the spec of a job calls an uploaded set: its content, whatever a project calls it.

    Args:
        digest: SHA-256 of the file, hexadecimal.
    """
    return f"{_CONTENT}{digest}"


def digest_of_content(dataset: str) -> str | None:
    """Returns the SHA-256 of an uploaded set, hexadecimal; None for a registered one.

    Args:
        dataset: What the spec of a job calls it.
    """
    return dataset.removeprefix(_CONTENT) if dataset.startswith(_CONTENT) else None


def drawn_test_images(images: int) -> int:
    """Returns how many of so many images become the test split of an uploaded set without one."""
    return round(TEST_FRACTION * images)


def check_augmentation(augmentation: Augmentation, input_shape: tuple[int, int, int]) -> None:
    """Refuses an augmentation that could leave nothing of an image.

    Args:
        augmentation: What may be done to images.
        input_shape: Height, width, channels.

    Raises:
        InvalidArgument: AUGMENTATION_INVALID.
    """
    side = min(input_shape[:2])
    for name, pixels in (("crop", augmentation.crop), ("cutout", augmentation.cutout)):
        if pixels >= side:
            raise InvalidArgument(
                "AUGMENTATION_INVALID",
                f"{name} must be less than the shorter side of the images, {side} pixels. Received: {pixels}",
                field=f"augmentation.{name}",
            )


def check_validation(fraction: float, dataset: Dataset) -> None:
    """Refuses a share of the training images that is too small to have one of every class.

    A larger share may still lack a class that has few images: only the job knows how many images each class has.

    Args:
        fraction: Share of the training images that is kept for validation, at most a half.
        dataset: The data set.

    Raises:
        InvalidArgument: DATASET_CLASS_MISSING.
    """
    images = round(fraction * dataset.train_images)
    if images < dataset.classes:
        raise InvalidArgument(
            "DATASET_CLASS_MISSING",
            f"The validation split has an image of each of the {dataset.classes} classes, so keep at least "
            f"{dataset.classes} of the {dataset.train_images:,} training images for it. "
            f"Received: {fraction:g}, which is {images}",
            field="validation_fraction",
        )


def check_fits(graph: LayerGraph, dataset: Dataset) -> None:
    """Refuses a network whose input or output does not fit the data set.

    Raises:
        InvalidArgument: DATASET_SHAPE_MISMATCH.
    """
    inputs = sum(layer.op == "InputLayer" for layer in graph)
    if (inputs, len(graph.outputs)) != (1, 1) or len(graph[graph.outputs[0]].output_shape) != 1:
        shapes = ", ".join(str(list(graph[name].output_shape)) for name in graph.outputs)
        raise InvalidArgument(
            "DATASET_SHAPE_MISMATCH",
            f"{dataset.name} pairs one image with one class, so the network needs one input and one output of one value per "
            f"class. Received: {inputs} inputs, outputs of shape {shapes}",
            field="dataset",
        )
    if graph.input_shape != dataset.input_shape:
        raise InvalidArgument(
            "DATASET_SHAPE_MISMATCH",
            f"The network takes images of shape {list(graph.input_shape)}, but {dataset.name} has {list(dataset.input_shape)}",
            field="dataset",
        )
    if graph.classes != dataset.classes:
        raise InvalidArgument(
            "DATASET_SHAPE_MISMATCH",
            f"The network tells {graph.classes} classes apart, but {dataset.name} has {dataset.classes}",
            field="dataset",
        )
