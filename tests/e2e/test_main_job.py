"""Upload, prune, train, measure, resolve: through the public doors of a running service."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

from secateur.client import Target
from secateur.workers.engine.datasets import load
from secateur.workers.engine.tflm import classify_on_tflm
from tests.e2e.conftest import DATASET, network, submit
from tests.support.server import PATIENCE_S
from tests.support.stack import Stack, until

NEVER_ENDING = 1000
"""Epochs of a job that a test does not let finish."""
EPOCHS = 20
"""Of a job that is broken into: there have to be many left when the first is heard of, on a slow machine too."""


def secateur(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line as a user does."""
    command = str(Path(sys.executable).parent / "secateur")
    return subprocess.run(
        [command, *arguments],
        env={**stack.env, "SECATEUR_ADDRESS": stack.address},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_a_job_ends_with_a_model_that_fits_and_the_device_gets_it(shared_stack: Stack, tmp_path: Path) -> None:
    target = Target(profile="stm32f746", flash="16KiB", macs="72k")
    with shared_stack.client() as client:
        job = client.submit(network(), dataset=DATASET, targets=[target], epochs=12, seed=1).wait(timeout=PATIENCE_S)

        assert job.state == "SUCCEEDED"
        (result,) = job.results
        limits = {limit.resource: limit for limit in result.compliance}
        assert set(limits) == {"flash_bytes", "ram_bytes", "macs"}
        assert all(limit.met for limit in limits.values())
        assert limits["flash_bytes"].asked == 16 * 1024

        resolution = client.resolve(job.architecture, DATASET, budget=target)
        assert resolution.model.name == result.model
        (path,) = resolution.model.download(tmp_path, formats=[resolution.artifact.format])

    content = path.read_bytes()
    assert len(content) == limits["flash_bytes"].achieved == resolution.artifact.size_bytes
    assert hashlib.sha256(content).hexdigest() == resolution.artifact.sha256
    test = load(DATASET, seed=0, validation_fraction=0.1).test
    on_device = float((classify_on_tflm(content, test.images) == test.labels).mean())
    assert on_device > 0.85
    assert abs(on_device - resolution.artifact.accuracy) <= 1 / len(test)


def test_several_targets_get_a_model_each(shared_stack: Stack) -> None:
    targets = [Target(parameters="50%"), Target(profile="stm32l4r5", macs="20%")]
    with shared_stack.client() as client:
        job = client.submit(network(), dataset=DATASET, targets=targets, epochs=1, seed=2).wait(timeout=PATIENCE_S)
        assert job.state == "SUCCEEDED"
        models = job.models()
    assert [model.target_index for model in models] == [0, 1]
    assert models[0].plan.cost.parameters > models[1].plan.cost.parameters


def test_a_limit_that_only_training_can_miss_ends_infeasible_with_the_nearest_point(shared_stack: Stack) -> None:
    unreachable = Target(profile="stm32f746", macs="20%", accuracy=1.0)
    with shared_stack.client() as client:
        job = client.submit(network(), dataset=DATASET, targets=[unreachable], epochs=1, seed=3).wait(timeout=PATIENCE_S)
        assert job.state == "INFEASIBLE"
        (result,) = job.results
        missed = [limit for limit in result.compliance if not limit.met]
        assert [limit.resource for limit in missed] == ["accuracy"]
        assert "accuracy" in result.message
        assert not client.model(result.model).met


def test_the_same_submit_twice_trains_once(shared_stack: Stack) -> None:
    with shared_stack.client() as client:
        first = submit(client, seed=4)
        second = submit(client, seed=4)
        assert second.name == first.name
        assert first.wait(timeout=PATIENCE_S).state == "SUCCEEDED"
        again = submit(client, seed=4)
        assert (again.name, again.state, again.attempt) == (first.name, "SUCCEEDED", 1)


def test_a_cancelled_running_job_ends_within_five_seconds(shared_stack: Stack) -> None:
    with shared_stack.client() as client:
        job = submit(client, epochs=NEVER_ENDING, seed=5)
        next(event for event in job.watch() if event.stage == "TRAINING")
        begin = time.monotonic()
        job.cancel()
        assert job.wait(timeout=30).state == "CANCELLED"
        assert time.monotonic() - begin < 5


def test_a_cancelled_queued_job_never_starts(shared_stack: Stack) -> None:
    with shared_stack.client() as client:
        blocker = submit(client, epochs=NEVER_ENDING, seed=7)
        next(event for event in blocker.watch() if event.stage == "TRAINING")
        queued = submit(client, seed=8)
        assert queued.cancel().state == "CANCELLED"
        blocker.cancel()
        # The worker is free again, and the queue is empty.
        assert submit(client, seed=9).wait(timeout=PATIENCE_S).state == "SUCCEEDED"
        queued.refresh()
        assert (queued.state, queued.attempt) == ("CANCELLED", 0)


def test_the_command_line_submits_waits_and_prints_one_json_object(shared_stack: Stack) -> None:
    arguments = ["submit", "resnet20", "--input-shape", "8x8x1", "--classes", "10", "--dataset", DATASET, "--epochs", "1"]
    done = secateur(shared_stack, *arguments, "--profile", "stm32f746", "--macs", "20%", "--seed", "10", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["state"] == "SUCCEEDED"

    too_small = secateur(shared_stack, *arguments, "--flash", "1KiB", "--no-wait")
    assert too_small.returncode == 4
    assert "flash_bytes" in too_small.stderr
    assert "BUDGET_INFEASIBLE" in too_small.stderr


def test_kill_9_of_the_child_costs_one_attempt(shared_stack: Stack) -> None:
    with shared_stack.client() as client:
        job = submit(client, epochs=EPOCHS, seed=11)
        next(event for event in job.watch() if event.progress is not None and event.progress.epoch == 2)
        for child in shared_stack.children_of_worker():
            child.kill()
        assert job.wait(timeout=PATIENCE_S).state == "SUCCEEDED"
        assert job.attempt == 2
        epochs = [event.progress.epoch for event in job.watch() if event.progress is not None and not event.progress.step]
        assert epochs.count(1) == 1, "the second attempt went on from a checkpoint"
        assert sorted(set(epochs)) == list(range(1, EPOCHS + 1))
        kept = Path(shared_stack.settings.blob_url.removeprefix("file://"), "checkpoints")
        until(lambda: kept.is_dir() and not [*kept.iterdir()], "the checkpoints of the job are gone")


def test_kill_9_of_server_and_worker_loses_nothing_and_the_watch_goes_on(stack: Stack) -> None:
    stack.up()
    with stack.client() as client:
        job = submit(client, epochs=EPOCHS)
        events = job.watch()
        seen = [next(events)]
        while seen[-1].progress is None:
            seen.append(next(events))
        orphans = stack.children_of_worker()
        stack.kill("server")
        stack.kill("worker")
        assert orphans
        until(lambda: not any(orphan.is_running() for orphan in orphans), "the orphans have ended themselves")
        stack.start("server", "worker")
        seen.extend(events)

        assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
        job.refresh()
        assert (job.state, job.attempt) == ("SUCCEEDED", 2)
        assert [event.state for event in seen].count("SUCCEEDED") == 1
        assert len(list(client.models())) == 1
