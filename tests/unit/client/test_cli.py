"""The command line against a remote service."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
import uuid
from importlib import metadata
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from typer.testing import CliRunner, Result

from secateur.client.cli import app
from secateur.v1 import job_service_pb2 as pb
from secateur.v1 import plan_service_pb2 as plans_pb
from secateur.v1 import resources_pb2 as resources_pb
from tests.unit.client.remote.models import CONTENT
from tests.unit.client.remote.service import Service

NET = ["resnet20", "--input-shape", "8x8x1", "--classes", "10"]
TARGET = ["--profile", "stm32f746", "--flash", "64KiB", "--ram", "48KiB", "--latency", "20ms", "--parameters", "50%"]
SUBMIT = ["submit", *NET, "--dataset", "digits", *TARGET]
CURVE = "TRAINING epoch 3/3 loss 0.500 accuracy 0.900 validation loss 0.250 rate 0.05 ETA 0 s 1,234 images/s"


def run(remote: Service, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--address", remote.address, *arguments])


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
    for words in ("job projects/default/jobs/00000001", CURVE):
        assert words in result.stderr
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
    assert "epoch 3/3 accuracy 0.900 ETA 0 s 1,234 images/s" in shown


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


def test_a_job_that_waits_shows_its_place_and_its_queue(remote: Service) -> None:
    remote.jobs.live = True
    name = json.loads(run(remote, *SUBMIT, "--no-wait", "--json").stdout)["name"]
    remote.jobs.jobs[name].MergeFrom(pb.Job(queue_position=2, queue="gpu"))
    assert "Place 2 in the queue gpu" in run(remote, "jobs", "get", name).stdout
    assert json.loads(run(remote, "jobs", "get", name, "--json").stdout)["queue"] == "gpu"
    remote.jobs.jobs[name].attempt = 1
    waiting = run(remote, "jobs", "wait", name, "--timeout", "100ms").stderr
    assert "Place 2 in the queue gpu, for attempt 2" in waiting


def test_a_job_that_runs_shows_how_far_it_is_and_since_when(remote: Service) -> None:
    remote.jobs.live = True
    name = json.loads(run(remote, *SUBMIT, "--no-wait", "--name", "night run", "--label", "site=a", "--json").stdout)["name"]
    progress = pb.JobProgress(epoch=3, epochs=30, loss=0.5, accuracy=0.9, eta=Duration(seconds=200))
    at = Timestamp(seconds=1_700_000_060)
    remote.jobs.jobs[name].MergeFrom(
        pb.Job(state=pb.JOB_STATE_RUNNING, stage=pb.JOB_STAGE_TRAINING, attempt=2, progress=progress, start_time=at)
    )
    remote.jobs.events[name][0].time.CopyFrom(at)
    shown = run(remote, "jobs", "get", name).stdout
    for words in (
        f"{name} RUNNING night run site=a",
        "Created 2023-11-14 22:13:20+00:00, started 2023-11-14 22:14:20+00:00",
        "TRAINING, attempt 2 epoch 3/30 loss 0.500 accuracy 0.900",
        "ETA 3 min 20 s",
    ):
        assert words in shown
    assert "TRAINING 3/30" in run(remote, "jobs", "list").stdout
    watched = run(remote, "jobs", "watch", name, "--timeout", "100ms").stdout
    assert watched == "1 2023-11-14 22:14:20+00:00 QUEUED created\n"


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


def test_a_quote_that_is_infeasible_is_exit_code_4(remote: Service) -> None:
    assert run(remote, "quote", *NET, *TARGET).exit_code == 0
    remote.plans.feasible = False
    result = run(remote, "quote", *NET, *TARGET, "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["targets"][0]["binding_limit"] == "flash_bytes"


def test_a_quote_draws_widths_and_the_budget_curve(remote: Service) -> None:
    shown = run(remote, "quote", *NET, *TARGET).stdout
    group, curve = (next(line for line in shown.splitlines() if word in line) for word in ("stage1_block1_conv1", "50.0 %"))
    assert ("16" in group, "4" in group, group.count("\u2588"), group.count("\u2591")) == (True, True, 8, 24)
    assert "150,000" in curve
    assert "Estimated energy per image" in shown
    assert curve.count("\u2588") == 4 * 3, "half of each of four resources"
    answer = json.loads(run(remote, "quote", *NET, *TARGET, "--json").stdout)
    assert [point["width"] for point in answer["curve"]] == [1.0, 0.5]
    assert answer["curve"][1]["cost"]["parameters"] == 150_000


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


def test_a_quote_names_the_blocks_that_go(remote: Service) -> None:
    remote.plans.dropped_blocks = ["stage1_block2_add", "stage3_block1_add"]
    assert "Dropped blocks: stage1_block2_add, stage3_block1_add" in run(remote, "quote", *NET, *TARGET).stdout


def test_candidates_of_a_search_are_listed(remote: Service) -> None:
    best = pb.SearchCandidate(
        origin="flops, seed 3", plan="a", parameters=1_234, macs=5_678, scores={"synflow": 2.5}, rank=1.5, chosen=True
    )
    best.validation_accuracy, best.measured_fits = 0.91, True
    missed = pb.SearchCandidate(origin="uniform", plan="b", parameters=9_999, missed_limits=[resources_pb.RESOURCE_FLASH_BYTES])
    remote.jobs.candidates = [best, missed, missed]
    shown = run(remote, "jobs", "candidates", "00000001", "--target", "1").stdout
    first, second = (next(line for line in shown.splitlines() if word in line) for word in ("flops, seed 3", "uniform"))
    assert all(word in first for word in ("1,234", "5,678", "2.5", "1.5", "91.0 %", "yes"))
    assert "flash_bytes" in second
    listed = json.loads(run(remote, "jobs", "candidates", "00000001", "--json").stdout)
    assert len(listed) == 3, "two pages"
    assert (listed[0]["scores"], listed[1]["rank"], listed[1]["missed_limits"]) == ({"synflow": 2.5}, None, ["flash_bytes"])
    requests = remote.faults.requests["ListSearchCandidates"]
    assert isinstance(requests[0], pb.ListSearchCandidatesRequest)
    assert (requests[0].parent, requests[0].target_index) == ("projects/default/jobs/00000001", 1)
    remote.faults.fail("ListSearchCandidates", "FAILED_PRECONDITION", reason="NO_SEARCH", message="The job made one plan")
    result = run(remote, "jobs", "candidates", "00000001")
    assert (result.exit_code, result.stderr) == (1, "error: NO_SEARCH: The job made one plan\n")


def test_jobs_are_listed_watched_and_cancelled(remote: Service) -> None:
    for seed in ("1", "2", "3"):
        run(remote, *SUBMIT, "--seed", seed, "--no-wait")
    assert [job["seed"] for job in json.loads(run(remote, "jobs", "list", "--limit", "2", "--json").stdout)] == [3, 2]
    assert "00000003" in run(remote, "jobs", "list").stdout.split()
    lines = run(remote, "jobs", "watch", "00000001", "--after", "3", "--json").stdout.splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [4, 5]
    assert run(remote, "jobs", "watch", "00000001", "--after", "4").stdout == "5 SUCCEEDED ended\n"
    remote.jobs.live = True
    run(remote, *SUBMIT, "--no-wait")
    assert json.loads(run(remote, "jobs", "cancel", "00000004", "--json").stdout)["state"] == "CANCELLED"
    assert json.loads(run(remote, "jobs", "retry", "00000004", "--json").stdout)["name"] == "projects/default/jobs/00000005"


def test_a_narrow_terminal_shows_ids_of_jobs_in_one_piece(remote: Service) -> None:
    job_id = str(uuid.uuid4())
    remote.jobs.add(pb.Job(name=f"projects/default/jobs/{job_id}", dataset="projects/default/datasets/of-some-length"))
    reader, terminal = pty.openpty()
    with open(reader, "rb", buffering=0) as screen:  # noqa: PTH123 -- a descriptor
        command = [sys.executable, "-m", "secateur.client.cli", "jobs", "list"]
        environment = {**os.environ, "SECATEUR_ADDRESS": remote.address, "COLUMNS": "80", "TERM": "dumb"}
        subprocess.run(command, env=environment, stdout=terminal, check=True)
        os.close(terminal)
        assert job_id in screen.read(65_536).decode()


def test_models_are_shown_and_downloaded(remote: Service, tmp_path: Path) -> None:
    assert "aa01" in run(remote, "models", "list").stdout.split()
    assert "272,474" in run(remote, "models", "get", "aa01").stdout
    result = run(remote, "models", "download", "aa01", str(tmp_path), "--format", "litert-int8", "--json")
    assert json.loads(result.stdout) == [str(tmp_path / "litert-int8.tflite")]
    assert (tmp_path / "litert-int8.tflite").read_bytes() == CONTENT["litert-int8"]
    found = run(remote, "models", "resolve", *NET, "--dataset", "digits", "--profile", "stm32f746", "--json")
    assert json.loads(found.stdout)["artifact"]["format"] == "litert-int8"
    etag = json.loads(found.stdout)["etag"]
    again = run(remote, "models", "resolve", *NET, "--dataset", "digits", "--profile", "stm32f746", "--etag", etag, "--json")
    assert (again.exit_code, json.loads(again.stdout)) == (0, None)


def test_lists_take_a_filter_and_an_order(remote: Service) -> None:
    run(remote, "jobs", "list", "--filter", "labels.site = a", "--order-by", "create_time")
    run(remote, "models", "list", "--filter", "macs < 1000", "--order-by", "accuracy desc")
    asked = [remote.faults.requests[method][0] for method in ("ListJobs", "ListModels")]
    assert [str(request) for request in asked] == [
        'parent: "projects/default"\nfilter: "labels.site = a"\norder_by: "create_time"\n',
        'parent: "projects/default"\nfilter: "macs < 1000"\norder_by: "accuracy desc"\n',
    ]


def test_a_figure_has_a_column_per_file_and_operators_their_share(remote: Service) -> None:
    lines = run(remote, "models", "get", "aa01").stdout.splitlines()
    load, conv, dense = (next(line for line in lines if word in line) for word in ("load_ms", "CONV_2D", "FULLY_CONNECTED"))
    assert load.index("3.25 ms") < load.index("2.75 ms")
    assert any("load_ms" in line and "to the first result" in line for line in lines)
    assert all(word in conv for word in ("conv1", "8x8x7", "0.75 ms", "75.0 %"))
    assert "25.0 %" in dense
    assert any("2 of 2 operators, 1 ms in all. Each operator alone." in line for line in lines)


def test_attempts_are_shown_where_there_was_more_than_one(remote: Service) -> None:
    assert "Next plan kept" not in run(remote, *SUBMIT).stdout
    missed = resources_pb.Compliance(resource=resources_pb.RESOURCE_FLASH_BYTES, asked=65_536, achieved=66_560)
    kept = pb.Tightening(resource=resources_pb.RESOURCE_FLASH_BYTES, limit=64_512)
    remote.jobs.attempts = [pb.Attempt(plan="b" * 64, compliance=[missed], tightened=[kept]), *remote.jobs.attempts]
    shown = run(remote, *SUBMIT).stdout
    first = next(line for line in shown.splitlines() if "bbbb" in line)
    assert all(word in first for word in ("untrained export", "flash_bytes 65 KiB of 64 KiB", "flash_bytes 63 KiB"))
    job = json.loads(run(remote, *SUBMIT, "--json").stdout)
    assert job["results"][0]["attempts"][0]["tightened"] == [{"resource": "flash_bytes", "limit": 64_512}]


def test_catalogues_are_shown(remote: Service, tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text("{}")
    assert json.loads(run(remote, "architectures", "upload", str(path), "--dry-run", "--json").stdout)["input_shape"] == [
        8,
        8,
        1,
    ]
    assert not remote.architectures.stored
    uploaded = json.loads(run(remote, "architectures", "upload", str(path), "--json").stdout)
    assert uploaded["name"] in run(remote, "architectures", "list").stdout
    assert "Conv2D" in run(remote, "architectures", "get", uploaded["name"]).stdout


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
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, stderr
    assert stderr.endswith("stopped waiting; the job goes on: secateur jobs wait projects/default/jobs/00000001\n")
    assert not remote.faults.requests["CancelJob"]
