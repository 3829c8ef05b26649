"""Feeds the reader with damaged architectures; anything but a graph or a refusal is a failure.

    python -m tests.benchmarks.fuzz_reader --seconds 600 [--seed 0] [FILE.json ...]

Starts from real Keras JSON (built here, or given), changes a few places of it, or of its text, at random and reads it. What
is read must survive the whole way through the core: costs, channel groups, narrower widths, our own data and back. None may
take a second of processor time or 200 MiB. Prints what came out and writes docs/results/fuzz.json.
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import multiprocessing
import os
import platform
import random
import sys
import time
import traceback
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from secateur.core.cost import cost_of, group_rows
from secateur.core.errors import InvalidArgument
from secateur.core.graph import channel_groups, from_data, read_keras_json, with_widths
from secateur.core.graph.table import OPERATIONS

RESULTS: Final = Path(__file__).parents[2] / "docs/results/fuzz.json"
SLOW_S: Final = 1.0
LARGE_MIB: Final = 200.0
_FAILURES: Final = ("CRASH", "SLOW", "LARGE")
_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 1024, 10**6, 10**9, 2**31, 2**63, -(2**63), 10**300, 0.5, -0.5, 1e308, 1e-308,
    float("nan"), float("inf"), "", "x", "same", "valid", "channels_first", "relu", "a" * 1000, "\ud800", "\x00", "../..",
    [], {}, [[]], [None], [1, 1], [[1, 1], [1, 1]], [-1], [0, 0], [1, 2, 3], [None, 8, 8, 3], {"class_name": "Functional"},
    {"class_name": "__keras_tensor__", "config": {}}, {"class_name": "ReLU", "config": {}},
)  # fmt: skip


def seeds(files: list[Path]) -> list[Any]:
    """Returns the documents to start from."""
    if files:
        return [json.loads(path.read_text()) for path in files]
    import keras

    from tests.support.applications import application
    from tests.unit.core.graph.test_structures import MODELS

    documents = [json.loads(make().to_json()) for make in MODELS]
    documents += [json.loads(application(name).to_json()) for name in ("MobileNetV3Small", "VGG16", "EfficientNetB0")]
    keras.backend.clear_session()
    return documents


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns every place in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


def damage(document: Any, spots: list[tuple[Any, ...]], draw: random.Random) -> Any:
    """Changes one to four places."""
    damaged = copy.copy(document)
    for _ in range(draw.randint(1, 4)):
        *path, last = draw.choice(spots)
        try:
            place = damaged
            for key in path:
                place[key] = copy.copy(place[key])  # what is not changed stays shared with the document
                place = place[key]
            before = place[last]
            choice = draw.random()
            if choice < 0.15:
                del place[last]
            elif choice < 0.3 and isinstance(place, list):
                place.insert(draw.randint(0, len(place)), before)
            elif choice < 0.45:
                place[last] = _at(document, draw.choice(spots))
            elif choice < 0.55 and last == "class_name":
                place[last] = draw.choice(sorted(OPERATIONS))
            elif choice < 0.7 and isinstance(before, int | float) and not isinstance(before, bool):
                place[last] = before + draw.choice((-2, -1, 1, 2, 1000))
            else:
                place[last] = draw.choice(_VALUES)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return damaged


def damage_text(text: str, draw: random.Random) -> str:
    """Cuts a piece out of a text, repeats it, or puts a stray character in its place."""
    start = draw.randrange(len(text))
    end = start + int(draw.expovariate(0.1))
    return text[:start] + draw.choice(("", 2 * text[start:end], draw.choice('{}[],:"\\0e-\x00\ud800'))) + text[end:]


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def try_one(text: str, draw: random.Random) -> str:
    """Reads a document and takes what was read through the core; returns the outcome."""
    try:
        graph = read_keras_json(text)
    except InvalidArgument as refusal:
        (refusal.message + refusal.field).encode()
        return refusal.reason
    again = from_data(json.loads(json.dumps(graph.to_dict())))
    assert again == graph, "our own data does not come back as it went"
    cost = cost_of(graph)
    group_rows(graph)
    widths = {group.name: draw.randint(1, group.width) for group in channel_groups(graph, residual="coupled") if group.prunable}
    assert cost_of(with_widths(graph, widths)).parameters <= cost.parameters, "narrower, yet more parameters"
    return "READ"


def resident(key: str) -> float:
    """Returns a figure of this process's memory in MiB: VmRSS now, VmHWM at its peak."""
    return int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0]) / 1024


def main() -> int:
    """Fuzzes for the time given and reports what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with multiprocessing.get_context("spawn").Pool(1) as elsewhere:  # so that Keras does not blur the memory of this process
        documents = elsewhere.apply(seeds, (options.files,))
    starts = [(document, places(document)[1:]) for document in documents]
    outcomes: collections.Counter[str] = collections.Counter()
    slowest = largest = 0.0
    before = resident("VmRSS")
    deadline = time.monotonic() + options.seconds
    while time.monotonic() < deadline:
        document, spots = draw.choice(starts)
        text = json.dumps(damage(document, spots, draw))
        if draw.random() < 0.1:
            text = damage_text(text, draw)
        Path("/proc/self/clear_refs").write_text("5")  # starts the peak anew
        begun = time.process_time()  # others may be using the machine
        try:
            outcome = try_one(text, draw)
        except Exception:
            traceback.print_exc()
            outcome = "CRASH"
        taken, grown = time.process_time() - begun, resident("VmHWM") - before
        if outcome != "CRASH" and (taken > SLOW_S or grown > LARGE_MIB):
            outcome = "SLOW" if taken > SLOW_S else "LARGE"
        if outcome in _FAILURES:
            Path(gettempdir(), f"fuzz_{outcome.lower()}_{outcomes[outcome]}.json").write_text(text, errors="surrogatepass")
        slowest, largest = max(slowest, taken), max(largest, grown)
        outcomes[outcome] += 1
    report = {
        "command": " ".join(["python -m tests.benchmarks.fuzz_reader", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "seconds": options.seconds,
        "seed": options.seed,
        "documents": outcomes.total(),
        "failures": sum(outcomes[each] for each in _FAILURES),
        "slowest_ms": round(1e3 * slowest, 1),
        "largest_mib": round(largest, 1),
        "outcomes": dict(outcomes.most_common()),
    }
    print(json.dumps(report, indent=2))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
