from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, check_convertible, with_widths
from secateur.core.graph.arguments import ACTIVATIONS
from secateur.core.graph.assembly import Builder
from secateur.workers.engine.build import build_model
from secateur.workers.engine.datasets import Data
from secateur.workers.engine.export import export_untrained
from secateur.workers.engine.litert import classify_on_litert
from secateur.workers.engine.tflm import classify_on_tflm, measure_arena
from tests.unit.workers.engine.conftest import Trained


def test_micro_controllers_see_what_litert_sees(trained: Trained, data: Data) -> None:
    on_device = classify_on_tflm(trained.int8, data.test.images)
    on_litert = classify_on_litert(trained.int8, data.test.images)
    assert (on_device == data.test.labels).mean() > 0.9
    assert (on_device != on_litert).sum() <= 1


def test_float32_files_run_too(trained: Trained, data: Data) -> None:
    on_device = classify_on_tflm(trained.float32, data.test.images)
    assert (on_device != trained.outputs.argmax(axis=1)).sum() <= 1


def test_the_arena_is_enough_and_one_step_less_is_not(trained: Trained, data: Data, capfd: pytest.CaptureFixture[str]) -> None:
    arena = measure_arena(trained.int8)
    assert capfd.readouterr() == ("", "")
    images = data.test.images[:5]
    roomy = classify_on_tflm(trained.int8, images)
    assert (classify_on_tflm(trained.int8, images, arena_bytes=arena.smallest) == roomy).all()
    with pytest.raises(RuntimeError):
        classify_on_tflm(trained.int8, images, arena_bytes=arena.smallest - 16)


def test_an_arena_in_which_the_interpreter_crashes_is_too_small() -> None:
    net = Builder("many_classes", (10, 10, 3))
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=300)
    file = export_untrained(build_model(net.build()), np.zeros((1, 10, 10, 3), np.float32))
    images = np.random.default_rng(0).random((2, 10, 10, 3), np.float32)
    arena = measure_arena(file)
    assert (classify_on_tflm(file, images, arena_bytes=arena.smallest) == classify_on_tflm(file, images)).all()


def test_a_search_that_is_killed_says_nothing_of_the_arena(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "python"
    killed.write_text(f'#!/bin/sh\n{shlex.quote(sys.executable)} "$@"\nkill -9 $$\n')
    killed.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(killed))
    with pytest.raises(subprocess.CalledProcessError) as failed:
        measure_arena(trained.int8)
    assert failed.value.returncode == -signal.SIGKILL


def test_what_the_interpreter_records_adds_up(trained: Trained) -> None:
    arena = measure_arena(trained.int8)
    assert arena.recorded == arena.head + arena.tail
    assert arena.recorded <= arena.smallest


def test_a_narrower_network_needs_less(graph: LayerGraph, data: Data, trained: Trained) -> None:
    narrow = with_widths(graph, {"block0_conv": 4, "block1_conv": 8})
    assert (
        measure_arena(export_untrained(build_model(narrow), data.train.images)).smallest < measure_arena(trained.int8).smallest
    )


def activated(*names: str) -> LayerGraph:
    net = Builder("net", (8, 8, 3))
    for name in names:
        net.add("Conv2D", name, filters=4, kernel_size=1, activation=name)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=10)
    return net.build()


def is_let_through(graph: LayerGraph) -> bool:
    try:
        check_convertible(graph)
    except InvalidArgument:
        return False
    return True


def test_every_activation_that_is_let_through_runs() -> None:
    passing = [name for name in sorted(ACTIVATIONS) if is_let_through(activated(name))]
    assert {"relu", "silu", "hard_silu", "tanh"} < set(passing)
    model = build_model(activated(*passing))
    images = np.zeros((1, 8, 8, 3), np.float32)
    file = export_untrained(model, images)
    assert measure_arena(file).smallest > 0
    assert classify_on_tflm(file, images).shape == (1,)  # an operator may start and then refuse what it is given
