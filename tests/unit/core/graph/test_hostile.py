"""Architectures made to exhaust the server: refused in under a second and 200 MiB."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]


def layer(kind: str, name: str, inputs: Sequence[str], **config: Any) -> dict[str, Any]:
    nodes = [[[each, 0, 0, {}] for each in inputs]] if inputs else []
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}


def model(layers: Sequence[dict[str, Any]], output: str = "r", shape: Sequence[Any] = (None, 8, 8, 4)) -> str:
    first = layer("InputLayer", "x", [], batch_input_shape=list(shape))
    config = {"layers": [first, *layers], "input_layers": [["x", 0, 0]], "output_layers": [[output, 0, 0]]}
    return json.dumps({"class_name": "Functional", "config": {"name": "m", **config}})


def matryoshka(depth: int) -> str:
    text = model([layer("ReLU", "r", ["x"])])
    for number in range(depth):
        inner = {**json.loads(text), "name": f"m{number}", "inbound_nodes": [[["x", 0, 0, {}]]]}
        text = model([inner], f"m{number}")
    return text


def chain(kind: str, count: int, copies: int = 1, **config: Any) -> list[dict[str, Any]]:
    return [layer(kind, f"r{n}", [f"r{n - 1}" if n else "x"] * copies, **config) for n in range(count)]


CASES: dict[str, Callable[[], str]] = {
    "200 MB": lambda: "[" + "0" * 200_000_000 + "]",
    "most characters": lambda: "[" + "{}" * (2**23 - 1),
    "60 000 layers": lambda: model(chain("ReLU", 60_000), "r9"),
    "3 000 layers": lambda: model(chain("ReLU", 3_000), "r9"),
    "a million empty layers": lambda: '{"class_name": "Functional", "config": {"layers": [' + "{}," * 1_000_000 + "{}]}}",
    "most empty layers": lambda: model([{}] * 240_000),
    "most strings": lambda: json.dumps(["\U0001f600" * 20] * 250_000, ensure_ascii=False),
    "deep lists": lambda: "[" * 1_000_000,
    "deep objects": lambda: '{"a":' * 400_000,
    "models within models": lambda: matryoshka(60),
    "long numbers": lambda: "[" + ",".join(["9" * 4_000] * 3_500) + "]",
    "one long name": lambda: model([layer("ReLU", "r" * 8_000_000, ["x"])]),
    "a cycle": lambda: model([layer("ReLU", "r", ["s"]), layer("ReLU", "s", ["r"])]),
    "a long cycle": lambda: model([layer("ReLU", f"r{n}", [f"r{(n + 1) % 1_900}"]) for n in range(1_900)], "r7"),
    "not a number": lambda: model([layer("ReLU", "r", ["x"], max_value=float("nan"))]),
    "negative strides": lambda: model([layer("MaxPooling2D", "r", ["x"], pool_size=2, strides=-1)]),
    "negative margins": lambda: model([layer("Cropping2D", "r", ["x"], cropping=-4)]),
    "growing images": lambda: model(chain("UpSampling2D", 99, size=1024), "r98"),
    "growing channels": lambda: model(chain("Concatenate", 99, copies=2), "r98"),
    "huge shapes": lambda: model([layer("ReLU", "r", ["x"])], shape=[None, 10**18, 10**18, 10**18]),
    "huge reshapes": lambda: model([layer("Reshape", "r", ["x"], target_shape=[-1, 10**15, 10**15])]),
    "huge paddings": lambda: model([layer("ZeroPadding2D", "r", ["x"], padding=10**400)]),
    "too many inputs": lambda: model([layer("Add", "r", ["x"] * 90_000)]),
    "too many calls": lambda: model([{**layer("ReLU", "r", []), "inbound_nodes": [[["x", 0, 0, {}]]] * 90_000}]),
}
_READ = """
import json, sys, time
from pathlib import Path
from secateur.core.errors import InvalidArgument
from secateur.core.graph import read_keras_json

def kib(key):
    return int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0])

text = sys.stdin.buffer.read().decode()
Path("/proc/self/clear_refs").write_text("5")  # starts the peak anew
before, start = kib("VmRSS"), time.process_time()
try:
    read_keras_json(text)
    reason = message = "READ"
except InvalidArgument as error:
    reason, message = error.reason, error.message + error.field
print(json.dumps([time.process_time() - start, kib("VmHWM") - before, reason, len(message.encode())]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
@pytest.mark.parametrize("name", CASES)
def test_is_refused_quickly_and_in_little_memory(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _READ], input=CASES[name]().encode(), capture_output=True, check=True, timeout=240,
        cwd=ROOT, env={"PYTHONPATH": "server"},
    )  # fmt: skip
    seconds, kib, reason, length = json.loads(done.stdout)
    assert reason in ("ARCHITECTURE_MALFORMED", "ARCHITECTURE_TOO_LARGE", "LAYER_UNSUPPORTED")
    assert seconds < 1
    assert kib < 200 * 1024
    assert length < 1_000
