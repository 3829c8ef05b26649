"""What the command line shows: quotes, candidates, jobs, models, catalogues, as text and as JSON."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import uuid
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from secateur.v1 import job_service_pb2 as pb
from secateur.v1 import resources_pb2 as resources_pb
from tests.unit.client.command_line import NET, SUBMIT, TARGET, run
from tests.unit.client.remote.models import CONTENT
from tests.unit.client.remote.service import Service


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
    remote.jobs.jobs[name].stage = pb.JOB_STAGE_EXPORTING
    assert "EXPORTING, attempt 2\n" in run(remote, "jobs", "get", name).stdout  # its training is over, and so is what it told
    watched = run(remote, "jobs", "watch", name, "--timeout", "100ms").stdout
    assert watched == "1 2023-11-14 22:14:20+00:00 QUEUED created\n"


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
