"""Which kind of worker a job needs: counted from what it trains."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.core import datasets, recipes
from secateur.core.cost import cost_of
from secateur.core.graph import zoo
from secateur.core.routing import GPU_FROM_FLOPS, Need, need_of, training_flops
from secateur.core.specs import HybridPolicy, JobSpec, PlanMode, PlanPolicy, SearchPolicy, Target

IMAGES = 1_000
MACS = 1_000_000
EPOCHS = 10
ONE_TRAINING = 3 * 2 * MACS * IMAGES * EPOCHS
TAUGHT = ONE_TRAINING // 3 * 4

HYBRID = PlanPolicy(mode=PlanMode.HYBRID)


def a_job(*, targets: int = 1, policy: PlanPolicy | None = None, distillation: float = 0.0, epochs: int = EPOCHS) -> JobSpec:
    recipe = recipes.resolve(epochs=epochs, distillation=distillation)
    return JobSpec("a" * 64, "digits", (Target(),) * targets, recipe, policy or PlanPolicy())


def flops(spec: JobSpec) -> int:
    return training_flops(spec, macs=MACS, images=IMAGES)


@pytest.mark.parametrize(
    ("network", "dataset", "recipe", "need"),
    [
        ("resnet20", "digits", "fast", Need.CPU),
        ("resnet20", "digits", "paper", Need.CPU),
        ("resnet20", "cifar10", "fast", Need.GPU),
        ("resnet50", "cifar100", "paper", Need.GPU),
    ],
)
def test_small_trainings_need_a_cpu_and_large_ones_a_gpu(network: str, dataset: str, recipe: str, need: Need) -> None:
    images = datasets.get(dataset)
    macs = cost_of(zoo.build(network, images.input_shape, images.classes)).macs
    spec = replace(a_job(), dataset=dataset, recipe=recipes.resolve(recipe, images))
    assert need_of(spec, macs=macs, images=images.train_images) is need


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (a_job(), ONE_TRAINING),
        (a_job(targets=3), 3 * ONE_TRAINING),
        # The unpruned network is trained once, whatever the number of targets, and then answers in every step.
        (a_job(targets=3, distillation=0.5), ONE_TRAINING + 3 * TAUGHT),
        (a_job(targets=2, policy=HYBRID), ONE_TRAINING + 2 * ONE_TRAINING // 2),
        (
            a_job(policy=replace(HYBRID, hybrid=HybridPolicy(rounds=4))),
            ONE_TRAINING + 4 * ONE_TRAINING // 2,
        ),
        (a_job(policy=PlanPolicy(search=SearchPolicy(finalists=5, brief_epochs=2))), 2 * ONE_TRAINING),
        (a_job(policy=PlanPolicy(search=SearchPolicy(finalists=5, brief_epochs=100))), 6 * ONE_TRAINING),
        (a_job(policy=PlanPolicy(search=SearchPolicy(finalists=1))), ONE_TRAINING),
    ],
    ids=["plain", "targets", "distillation", "hybrid", "rounds", "search", "brief is never longer", "one finalist"],
)
def test_every_training_of_a_job_counts(spec: JobSpec, expected: int) -> None:
    assert flops(spec) == expected


@given(st.integers(1, 9_999), st.sampled_from([PlanPolicy(), HYBRID, PlanPolicy(search=SearchPolicy())]))
def test_more_epochs_never_need_less(epochs: int, policy: PlanPolicy) -> None:
    assert flops(a_job(policy=policy, epochs=epochs)) <= flops(a_job(policy=policy, epochs=epochs + 1))


def test_the_threshold_itself_needs_a_gpu() -> None:
    spec = a_job(epochs=1)
    macs = int(GPU_FROM_FLOPS) // (3 * 2 * IMAGES) + 1
    assert need_of(spec, macs=macs, images=IMAGES) is Need.GPU
    assert need_of(spec, macs=macs - 1, images=IMAGES) is Need.CPU
