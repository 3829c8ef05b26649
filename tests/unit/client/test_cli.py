"""The command line against a remote service: submitting and waiting, exit codes, wrong usage, help."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from importlib import metadata

import pytest
from rich.console import Console
from typer.testing import CliRunner

from secateur.client import Client, Target, WaitTimeout, Zoo
from secateur.client.cli import app
from secateur.client.cli.progress import wait_with_progress
from secateur.v1 import job_service_pb2 as pb
from secateur.v1 import plan_service_pb2 as plans_pb
from tests.unit.client.command_line import NET, SUBMIT, TARGET, run
from tests.unit.client.remote.service import Service

CURVE = "TRAINING epoch 3/3 loss 0.500 accuracy 0.900 validation loss 0.250 rate 0.05 1,234 images/s"


def test_submit_waits_and_shows_every_limit(remote: Service) -> None:
    result = run(remote, *SUBMIT, "--epochs", "30")
    assert result.exit_code == 0, result.stderr
    for words in (
        "SUCCEEDED",
        "flash_bytes",
        "64 KiB",
        "48.83 KiB",
        "+23.7 %",
        "yes",
        "bytes of the int8 file",
        "97.5 %",
        "12.5 ms",
    ):
        assert words in result.stdout
    lines = result.stderr.splitlines()
    assert lines[0] == "job projects/default/jobs/00000001"
    assert [line for line in lines if line.endswith(CURVE)]  # and no more: the message would say "Epoch 3 of 3" again
    (request,) = remote.faults.requests["CreateJob"]
    assert isinstance(request, pb.CreateJobRequest)
    assert request.job.recipe.epochs == 30
    assert len(request.job.targets[0].budget.limits) == 4


def test_with_json_standard_output_is_json_and_nothing_else(remote: Service) -> None:
    result = run(remote, *SUBMIT, "--json")
    job = json.loads(result.stdout)
    assert (job["state"], job["results"][0]["compliance"][0]["met"]) == ("SUCCEEDED", True)
    assert job["models"][0]["artifacts"][1]["format"] == "litert-int8"
    assert "TRAINING" in result.stderr


def test_a_terminal_gets_a_bar(remote: Service) -> None:
    reader, terminal = pty.openpty()
    with open(reader, "rb", buffering=0) as screen:  # noqa: PTH123 -- a descriptor
        command = [sys.executable, "-m", "secateur.client.cli", *SUBMIT, "--json"]
        done = subprocess.run(
            command,
            env={**os.environ, "SECATEUR_ADDRESS": remote.address, "COLUMNS": "120", "TERM": "xterm"},
            stdout=subprocess.PIPE,
            stderr=terminal,
            check=True,
        )
        os.close(terminal)
        shown = screen.read(65_536).decode()
    assert json.loads(done.stdout)["state"] == "SUCCEEDED"
    assert "\u2501" in shown
    assert "epoch 3/3 accuracy 0.900 1,234 images/s" in shown


def test_a_bar_is_drawn_again_when_it_has_something_new_to_tell(remote: Service) -> None:
    remote.jobs.live = True
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with Client(remote.address) as client:
        job = client.submit(Zoo("resnet20", (8, 8, 1), 10), dataset="digits", targets=[Target(flash="64KiB")])
        with pytest.raises(WaitTimeout):
            wait_with_progress(job, timeout=0.8, console=console)
    assert 1 <= screen.getvalue().count("QUEUED") <= 4


def test_the_version_is_that_of_the_distribution(remote: Service) -> None:
    assert run(remote, "--version").stdout == f"secateur {metadata.version('secateur-client')}\n"


def test_no_wait_returns_at_once(remote: Service) -> None:
    remote.jobs.live = True
    result = run(remote, *SUBMIT, "--no-wait", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["state"] == "QUEUED"


def test_a_dry_run_creates_nothing(remote: Service) -> None:
    result = run(remote, *SUBMIT, "--dry-run")
    assert result.exit_code == 0
    assert "Nothing was created" in result.stdout
    assert not remote.jobs.jobs


def test_the_whole_recipe_is_sent_and_shown(remote: Service) -> None:
    recipe = ["--recipe", "strong", "--epochs", "60", "--batch-size", "96", "--learning-rate", "0.05", "--patience", "7"]
    recipe += ["--distillation", "0.25", "--scratch", "compute", "--optimizer", "sgd", "--schedule", "cosine", "--no-flip"]
    recipe += ["--crop", "2", "--cutout", "0", "--average-epochs", "2", "--weight-decay", "0", "--label-smoothing", "0.05"]
    recipe += ["--validation-fraction", "0.2", "--mixed-precision"]
    shown = run(remote, *SUBMIT, *recipe, "--dry-run").stdout
    assert "Recipe strong: epochs 60, batch size 96, learning rate 0.05, weight decay 0, label smoothing 0.05" in shown
    job = json.loads(run(remote, *SUBMIT, *recipe, "--no-wait", "--json").stdout)
    assert job["recipe"] == {
        "name": "strong",
        "epochs": 60,
        "batch_size": 96,
        "learning_rate": 0.05,
        "weight_decay": 0.0,
        "label_smoothing": 0.05,
        "validation_fraction": 0.2,
        "optimizer": "sgd",
        "schedule": "cosine",
        "augmentation": {"flip": False, "crop": 2, "cutout": 0},
        "average_epochs": 2.0,
        "distillation": 0.25,
        "patience": 7,
        "mixed_precision": True,
        "scratch": "compute",
    }


def test_every_profile_is_a_target_of_its_own(remote: Service) -> None:
    run(remote, *SUBMIT, "--profile", "stm32h743", "--no-wait", "--label", "site=a", "--name", "pair")
    (job,) = remote.jobs.jobs.values()
    assert [target.device_profile for target in job.targets] == ["deviceProfiles/stm32f746", "deviceProfiles/stm32h743"]
    assert (job.labels["site"], job.display_name) == ("a", "pair")


@pytest.mark.parametrize(
    ("state", "code"),
    [(pb.JOB_STATE_FAILED, 1), (pb.JOB_STATE_CANCELLED, 1), (pb.JOB_STATE_EXPIRED, 1), (pb.JOB_STATE_INFEASIBLE, 4)],
)
def test_the_exit_code_tells_how_the_job_ended(remote: Service, state: pb.JobState.ValueType, code: int) -> None:
    remote.jobs.final_state = state
    result = run(remote, *SUBMIT)
    assert result.exit_code == code
    assert pb.JobState.Name(state).removeprefix("JOB_STATE_") in result.stdout
    assert run(remote, "jobs", "wait", "00000001").exit_code == code
    assert run(remote, "jobs", "watch", "00000001").exit_code == code
    assert run(remote, "jobs", "watch", "00000001", "--after", "5").exit_code == code


def test_waiting_too_long_is_a_timeout_and_the_job_goes_on(remote: Service) -> None:
    remote.jobs.live = True
    result = run(remote, *SUBMIT, "--timeout", "100ms")
    assert result.exit_code == 3
    assert "error: WAIT_TIMEOUT: projects/default/jobs/00000001 was not done within 0.1 s; it goes on" in result.stderr
    assert not remote.faults.requests["CancelJob"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["submit", *NET, "--dataset", "digits"], "BUDGET_EMPTY"),
        (["submit", *NET, "--dataset", "digits", "--flash", "64QB"], "flash must be a size such as"),
        (["submit", "resnet20", "--dataset", "digits", "--flash", "1MiB"], "input_shape and classes"),
        (["submit", "resnet20", "--input-shape", "8x8", "--dataset", "digits", "--flash", "1MiB"], "'8x8'"),
        (["submit", "/no/such.json", "--dataset", "digits", "--flash", "1MiB"], "/no/such.json"),
        ([*SUBMIT, "--label", "site"], "key=value"),
        ([*SUBMIT, "--timeout", "soon"], "timeout must be a time such as"),
        ([*SUBMIT, "--mode", "energy"], "device, parameters, flops, memory"),
        ([*SUBMIT, "--residual", "keep"], "residual must be one of skip, coupled. Received: 'keep'"),
        (
            [*SUBMIT, "--mode", "hybrid", "--criterion", "age"],
            "weight_l1, weight_l2, batch_norm_scale, feature_map_rank, random",
        ),
        ([*SUBMIT, "--mode", "hybrid", "--order", "random"], "layers_first, channels_first"),
        ([*SUBMIT, "--alpha", "1.2"], "for mode hybrid alone"),
        ([*SUBMIT, "--finalists", "2"], "add --search N or leave them out. Received: finalists without a search"),
        ([*SUBMIT, "--search", "0"], "candidates must be a whole number above zero. Received: 0"),
        ([*SUBMIT, "--min-width", "0"], "min_width must be a whole number above zero"),
        ([*SUBMIT, "--optimizer", "adam"], "optimizer must be one of sgd, rmsprop. Received: 'adam'"),
        ([*SUBMIT, "--scratch", "none"], "scratch must be one of epochs, compute"),
        ([*SUBMIT, "--crop", "-1"], "crop must be a whole number, 0 or more and of at most 32 bits. Received: -1"),
        (["quote", *NET, *TARGET, "--plot", "drawing.pdf"], "A plot is a file .svg or .png. Received: drawing.pdf"),
        (["quote", *NET, *TARGET, "--plot", "/no/such/drawing.svg"], "a folder that exists"),
        (["models", "resolve", *NET, "--dataset", "digits"], "a profile or a budget"),
        (["submit", *NET], "--dataset"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_sends_nothing(remote: Service, arguments: list[str], words: str) -> None:
    result = run(remote, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""
    assert not remote.faults.requests


def test_an_error_of_the_service_is_one_readable_line(remote: Service) -> None:
    remote.faults.fail(
        "CreateJob",
        "FAILED_PRECONDITION",
        times=2,
        reason="BUDGET_INFEASIBLE",
        message="flash_bytes binds:\n12000 is the least",
        field="targets[0]",
        metadata={"smallest_reachable": "12000"},
    )
    result = run(remote, *SUBMIT)
    assert result.exit_code == 4
    assert result.stderr == "error: BUDGET_INFEASIBLE: flash_bytes binds: 12000 is the least [targets[0]]\n"
    result = run(remote, *SUBMIT, "--json")
    assert (result.exit_code, result.stdout) == (4, "")
    error = json.loads(result.stderr)["error"]
    assert (error["code"], error["reason"], error["field"]) == ("FAILED_PRECONDITION", "BUDGET_INFEASIBLE", "targets[0]")
    assert error["metadata"] == {"smallest_reachable": "12000"}


@pytest.mark.parametrize(
    ("status", "code"), [("INVALID_ARGUMENT", 2), ("NOT_FOUND", 1), ("INTERNAL", 1), ("DEADLINE_EXCEEDED", 3)]
)
def test_the_exit_code_tells_what_kind_of_error_it_was(remote: Service, status: str, code: int) -> None:
    remote.faults.fail("GetJob", status, reason="SOME_REASON")
    result = run(remote, "jobs", "get", "beef")
    assert result.exit_code == code
    assert result.stderr == "error: SOME_REASON: told to fail\n"


def test_the_whole_policy_is_sent(remote: Service) -> None:
    planning = ["--mode", "flops", "--residual", "coupled", "--temperature", "0.5", "--step", "0.2", "--min-width", "6"]
    search = ["--search", "50", "--finalists", "2", "--brief-epochs", "1"]
    job = json.loads(run(remote, *SUBMIT, *planning, *search, "--no-wait", "--json").stdout)
    assert (job["mode"], job["residual"], job["temperature"], job["step"], job["min_width"]) == (
        "flops",
        "coupled",
        0.5,
        0.2,
        6,
    )
    assert (job["search"], job["hybrid"]) == ({"candidates": 50, "finalists": 2, "brief_epochs": 1}, None)
    hybrid = ["--mode", "hybrid", "--criterion", "weight_l2", "--order", "channels_first", "--alpha", "1.5"]
    job = json.loads(run(remote, *SUBMIT, *hybrid, "--no-wait", "--json").stdout)
    asked = {"criterion": "weight_l2", "order": "channels_first", "alpha": 1.5, "rounds": 1}
    assert (job["hybrid"], job["search"]) == (asked, None)
    run(remote, "quote", *NET, *TARGET, *hybrid)
    (request,) = remote.faults.requests["Quote"]
    assert isinstance(request, plans_pb.QuoteRequest)
    assert (request.policy.mode, request.policy.hybrid.alpha) == (plans_pb.PLAN_MODE_HYBRID, 1.5)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_tells_the_exit_codes(option: str) -> None:
    assert "4 infeasible" in " ".join(CliRunner().invoke(app, [option]).stdout.split())


def test_ctrl_c_leaves_the_job_running_and_says_how_to_wait_again(remote: Service) -> None:
    remote.jobs.live = True
    # Tests that a shell runs in the background have a SIGINT that is ignored, and so would have what they start.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "secateur.client.cli", *SUBMIT]
    env = {**os.environ, "SECATEUR_ADDRESS": remote.address}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not remote.faults.requests["WatchJob"]:
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == 130, stderr
    assert stderr.endswith("stopped waiting; the job goes on: secateur jobs wait projects/default/jobs/00000001\n")
    assert not remote.faults.requests["CancelJob"]
