"""How to train, as the SDK is asked and as it answers."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from secateur.client import Augmentation, Client, InvalidArgument, JobProgress, Recipe, Target, UsageError, aio
from secateur.client.cli.training import progress_line, recipe_line
from secateur.v1 import job_service_pb2 as pb
from tests.unit.client.remote.service import Service

ARCHITECTURE = "projects/default/architectures/00ff"
TARGET = Target(parameters="50%")
WHOLE = Recipe(
    "strong",
    epochs=100,
    batch_size=96,
    learning_rate=0.05,
    weight_decay=0.0,
    label_smoothing=0.05,
    validation_fraction=0.2,
    optimizer="rmsprop",
    schedule="constant",
    augmentation=Augmentation(flip=False, crop=2, cutout=0),
    average_epochs=2.5,
    distillation=0.25,
    patience=7,
    mixed_precision=False,
    scratch="compute",
)


def test_every_value_is_sent_and_shown(client: Client) -> None:
    assert all(getattr(WHOLE, field.name) is not None for field in fields(WHOLE))
    job = client.submit(ARCHITECTURE, dataset="digits", targets=TARGET, recipe=WHOLE)
    assert job.snapshot.recipe == WHOLE
    assert client.submit(ARCHITECTURE, dataset="digits", targets=TARGET, recipe=job.snapshot.recipe).snapshot.recipe == WHOLE


def test_a_name_is_a_recipe_and_shorthands_go_before_it(remote: Service, client: Client) -> None:
    client.submit(ARCHITECTURE, dataset="digits", targets=TARGET, recipe="paper", epochs=3)
    client.submit(ARCHITECTURE, dataset="digits", targets=TARGET, recipe=Recipe("paper", patience=0), epochs=3)
    client.submit(ARCHITECTURE, dataset="digits", targets=TARGET, recipe=WHOLE, epochs=3, learning_rate=0.5)
    client.submit(ARCHITECTURE, dataset="digits", targets=TARGET, recipe=Recipe(augmentation=Augmentation()))
    jobs = list(remote.jobs.jobs.values())
    assert [job.recipe for job in (*jobs[:2], jobs[3])] == [
        pb.Recipe(name="paper", epochs=3),
        pb.Recipe(name="paper", epochs=3, patience=0),
        pb.Recipe(),
    ]
    assert client.job("00000003").snapshot.recipe == replace(WHOLE, epochs=3, learning_rate=0.5)


@pytest.mark.parametrize(
    ("wrong", "words", "field"),
    [
        ({"optimizer": "adam"}, "optimizer must be one of sgd, rmsprop. Received: 'adam'", "optimizer"),
        ({"schedule": "linear"}, "schedule must be one of one_cycle, cosine, constant", "schedule"),
        ({"scratch": "none"}, "scratch must be one of epochs, compute", "scratch"),
        ({"epochs": -1}, "epochs must be a whole number, 0 or more and of at most 32 bits. Received: -1", "epochs"),
        ({"patience": 1.5}, "patience must be a whole number, 0 or more and of at most 32 bits. Received: 1.5", "patience"),
        ({"distillation": "half"}, "distillation must be a number. Received: 'half'", "distillation"),
        ({"mixed_precision": "yes"}, "True or False. Received: 'yes'", "mixed_precision"),
        (
            {"augmentation": Augmentation(crop=-2)},
            "crop must be a whole number, 0 or more and",
            "crop",
        ),
    ],
)
def test_what_is_no_value_is_refused_before_anything_is_sent(
    remote: Service, client: Client, wrong: dict[str, Any], words: str, field: str
) -> None:
    with pytest.raises(UsageError) as caught:
        client.submit("resnet20", dataset="digits", targets=TARGET, recipe=Recipe(**wrong))
    assert words in caught.value.message
    assert caught.value.field == field
    assert not remote.faults.requests


def test_what_is_out_of_bounds_is_refused_by_the_service(remote: Service, client: Client) -> None:
    remote.faults.fail("CreateJob", "INVALID_ARGUMENT", reason="REQUEST_INVALID", field="job.recipe.epochs")
    with pytest.raises(InvalidArgument) as caught:
        client.submit(ARCHITECTURE, dataset="digits", targets=TARGET, epochs=0)
    assert caught.value.field == "job.recipe.epochs"


def test_what_a_newer_or_older_service_says_is_shown(client: Client, remote: Service) -> None:
    job = client.submit(ARCHITECTURE, dataset="digits", targets=TARGET)
    assert job.snapshot.recipe == Recipe()
    remote.jobs.jobs[job.name].recipe.MergeFromString(bytes([8 << 3, 17]))  # field `optimizer` = 17
    assert job.refresh().snapshot.recipe == Recipe(optimizer="UNKNOWN(17)")


def test_the_same_for_asyncio(remote: Service) -> None:
    async def session() -> Recipe:
        async with aio.Client(remote.address) as client:
            job = await client.submit(ARCHITECTURE, dataset="digits", targets=TARGET, recipe=WHOLE, batch_size=32)
            return job.snapshot.recipe

    assert asyncio.run(session()) == replace(WHOLE, batch_size=32)


def test_a_recipe_in_words_names_values_as_the_options_do() -> None:
    assert recipe_line(Recipe("fast")) == "Recipe fast"
    assert recipe_line(WHOLE) == (
        "Recipe strong: epochs 100, batch size 96, learning rate 0.05, weight decay 0, label smoothing 0.05, "
        "validation fraction 0.2, optimizer rmsprop, schedule constant, average epochs 2.5, distillation 0.25, patience 7, "
        "mixed precision no, scratch compute, flip no, crop 2, cutout 0"
    )


def test_progress_in_words() -> None:
    within = JobProgress(
        target_index=0,
        epoch=3,
        epochs=30,
        loss=0.5,
        accuracy=0.912,
        eta=timedelta(seconds=200),
        step=120,
        steps=703,
        images_per_second=4_512.3,
        validation_loss=0.43,
        learning_rate=0.0713,
    )
    ended = replace(within, step=0)
    first = replace(within, epoch=0, accuracy=0.0, validation_loss=0.0)
    tail = "ETA 3 min 20 s 4,512 images/s"

    assert progress_line(within) == f"epoch 3/30 step 120/703 accuracy 0.912 {tail}"
    assert progress_line(first) == f"epoch 0/30 step 120/703 {tail}", "nothing has been validated"
    assert progress_line(ended, curve=True) == f"epoch 3/30 loss 0.500 accuracy 0.912 validation loss 0.430 rate 0.0713 {tail}"
    assert progress_line(within, curve=True) == f"epoch 3/30 step 120/703 loss 0.500 rate 0.0713 {tail}"
