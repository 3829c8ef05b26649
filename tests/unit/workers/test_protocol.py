from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from secateur.core.jobs import JobStage
from secateur.core.reports import Progress
from secateur.core.resources import Budget
from secateur.workers.protocol import Done, Failed, Folders, Job, Message, ProgressMade, Ready, StageChanged, decode, encode
from tests.support.training import quick_job, small_network

MESSAGES: tuple[Message, ...] = (
    Ready(),
    StageChanged(JobStage.TRAINING, "Training for 6 epochs"),
    ProgressMade(Progress(0, 1, 6, 0.5, 0.9, 12.5)),
    Done(),
    Failed("TRAINING_DIVERGED", "Lower the learning rate.\nReceived: loss=nan"),
    Job.of("job1", quick_job(Budget.of(flash_bytes=12_000)), small_network(), "file:///tmp/blobs"),
    Job.of(
        "job1",
        quick_job(Budget.of(flash_bytes=12_000)),
        small_network(),
        "file:///tmp/blobs",
        folders=Folders(Path("/data/sets"), Path("/data/cache")),
    ),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_one_line_and_comes_back_as_it_was(message: Message) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == message


def test_a_job_carries_its_architecture() -> None:
    graph = small_network()
    job = decode(encode(Job.of("job1", quick_job(Budget.of(flash_bytes=12_000)), graph, "file:///tmp/blobs")))
    assert isinstance(job, Job)
    assert job.layer_graph() == graph
    assert job.spec.architecture == graph.digest


def test_a_job_asks_for_nothing_that_is_settled() -> None:
    spec = quick_job(Budget.of(flash_bytes=12_000))
    spec = replace(spec, targets=3 * spec.targets)
    assert Job.of("job1", spec, small_network(), "file:///tmp/blobs", settled={1}).targets == (0, 2)


@pytest.mark.parametrize(
    "line", [b"", b"nonsense\n", b"[]\n", b'{"type":"rumour"}\n', b'{"message":"no type"}\n', b'{"type":"done","extra":1}\n']
)
def test_anything_else_is_no_message(line: bytes) -> None:
    with pytest.raises(ValueError, match="no message"):
        decode(line)


def test_what_json_cannot_say_is_not_sent() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode(ProgressMade(Progress(0, 1, 6, math.nan, 0.9, 12.5)))
