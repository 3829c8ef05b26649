"""What the service costs: wall time of a job through the whole service, against the same work called directly.

`python -m tests.benchmarks.overhead [--epochs E] [--pairs N]` runs N pairs in turn, each pair with a seed of its own: once
through redis, server, worker and a warm child, from submit to the terminal state as the SDK sees it; once as a call of
`run_target` in a process that has imported everything already. Target: service <= 1.05 x direct + 1 s. Prints the table and
writes docs/results/overhead.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from secateur.client import Client, Target, Zoo
from tests.support.stack import ROOT, Stack, until

RESULTS = ROOT / "docs/results/overhead.json"
IMPORT_SECONDS = 12
"""What a new child is given for its imports before each run, so that neither side pays for them."""
DIRECT = """
import json, sys, time, tempfile
from secateur.core import devices
from secateur.core.graph import zoo
from secateur.core.recipes import resolve
from secateur.core.resources import Budget
from secateur.core.specs import JobSpec, Target
from secateur.store.blobs import BlobStore
from secateur.workers.engine.pipeline import run_target
graph = zoo.build("resnet20", (8, 8, 1), 10)
for line in sys.stdin:
    seed, epochs, folder = json.loads(line)
    target = Target(devices.get("stm32f746"), Budget.of(flash_bytes=131072))
    spec = JobSpec(graph.digest, "digits", (target,), resolve(epochs=epochs), seed=seed)
    begin = time.monotonic()
    blobs = BlobStore(f"file://{folder}")
    report = run_target(graph, spec, 0, put=blobs.put)
    assert report.met, report.message
    print(json.dumps(time.monotonic() - begin), flush=True)
"""


def through_service(client: Client, seed: int, epochs: int) -> float:
    """Seconds from submit to SUCCEEDED."""
    begin = time.monotonic()
    job = client.submit(
        Zoo("resnet20", input_shape=(8, 8, 1), classes=10),
        dataset="digits",
        targets=[Target(profile="stm32f746", flash="128KiB")],
        epochs=epochs,
        seed=seed,
    )
    job.wait(timeout=900)
    assert job.state == "SUCCEEDED", job
    return time.monotonic() - begin


def directly(process: subprocess.Popen[str], seed: int, epochs: int, folder: Path) -> float:
    """Seconds of `run_target` in the warm process."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([seed, epochs, str(folder)]) + "\n")
    process.stdin.flush()
    return float(json.loads(process.stdout.readline()))


def main() -> None:
    """Runs the pairs, prints the table, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stack = Stack(folder)
        stack.up()
        direct = subprocess.Popen([sys.executable, "-c", DIRECT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            with stack.client() as client:
                runs = {
                    "service_s": lambda seed, epochs: through_service(client, seed, epochs),
                    "direct_s": lambda seed, epochs: directly(direct, seed, epochs, folder / "direct"),
                }
                for seed in range(arguments.pairs + 1):
                    epochs = arguments.epochs if seed else 1  # the first pair warms both sides up and is not counted
                    pair: dict[str, float] = {"seed": seed}
                    for side in sorted(runs, reverse=seed % 2 == 0):  # in turn, so that neither side always goes first
                        until(lambda: bool(stack.children_of_worker()), "a child is warm")
                        time.sleep(IMPORT_SECONDS)
                        pair[side] = round(runs[side](seed, epochs), 2)
                    if seed:
                        rows.append(pair)
        finally:
            direct.kill()
            stack.down()
    ratio = statistics.median(row["service_s"] / row["direct_s"] for row in rows)
    excess = statistics.median(row["service_s"] - 1.05 * row["direct_s"] for row in rows)
    print(f"{'seed':>4}  {'service s':>9}  {'direct s':>8}  {'ratio':>5}")
    for row in rows:
        print(
            f"{row['seed']:>4}  {row['service_s']:>9.2f}  {row['direct_s']:>8.2f}  {row['service_s'] / row['direct_s']:>5.2f}"
        )
    print(f"median ratio {ratio:.3f}; service - 1.05 x direct = {excess:+.2f} s (target: at most +1 s)")
    machine = f"{platform.machine()}, {psutil.cpu_count()} cores"
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {
                "command": " ".join(["python -m tests.benchmarks.overhead", *sys.argv[1:]]),
                "machine": machine,
                "epochs": arguments.epochs,
                "rows": rows,
                "median_ratio": round(ratio, 3),
                "median_excess_over_1.05x_s": round(excess, 2),
                "target": "service <= 1.05 x direct + 1 s",
            },
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
