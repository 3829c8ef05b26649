"""Registered data sets, and which networks fit them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secateur.core import datasets
from secateur.core.errors import InvalidArgument
from secateur.core.graph import zoo
from secateur.core.graph.assembly import Builder


def test_digits() -> None:
    digits = datasets.get("digits")
    assert (digits.input_shape, digits.classes) == ((8, 8, 1), 10)
    assert digits.train_images + digits.test_images == 1_797
    datasets.check_fits(zoo.build("resnet20", (8, 8, 1), 10), digits)


def test_unknown() -> None:
    with pytest.raises(InvalidArgument, match="digits") as caught:
        datasets.get("imagenet")
    assert (caught.value.reason, caught.value.field) == ("DATASET_UNKNOWN", "dataset")


@pytest.mark.parametrize(("shape", "classes", "text"), [((32, 32, 3), 10, "images of shape"), ((8, 8, 1), 7, "7 classes")])
def test_misfits(shape: tuple[int, int, int], classes: int, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text) as caught:
        datasets.check_fits(zoo.build("resnet20", shape, classes), datasets.get("digits"))
    assert caught.value.reason == "DATASET_SHAPE_MISMATCH"


def test_a_network_without_one_answer_per_image_is_a_misfit() -> None:
    net = Builder("map", (8, 8, 1))
    net.add("Conv2D", "per_pixel", filters=10, kernel_size=1)
    with pytest.raises(InvalidArgument, match=r"one output.*\[8, 8, 10\]") as caught:
        datasets.check_fits(net.build(), datasets.get("digits"))
    assert caught.value.reason == "DATASET_SHAPE_MISMATCH"


def test_a_validation_split_too_small_for_an_image_of_every_class_is_refused() -> None:
    small = replace(datasets.get("digits"), train_images=400)
    datasets.check_validation(0.025, small)
    with pytest.raises(InvalidArgument, match=r"at least 10 of the 400.*Received: 0\.02, which is 8") as caught:
        datasets.check_validation(0.02, small)
    assert (caught.value.reason, caught.value.field) == ("DATASET_CLASS_MISSING", "validation_fraction")
