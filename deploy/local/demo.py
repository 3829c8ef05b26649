"""The main job, end to end, on a private local stack: `make demo`.

Uploads ResNet-20, has it pruned and trained on scikit-learn's handwritten digits until it fits an STM32F746 budget, then
plays the device: resolves, downloads, checks the digest and classifies the test split on the TensorFlow Lite Micro
interpreter. The last line on standard output is one JSON object.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from secateur.client import Client, Job, Retry, Target, Zoo
from secateur.client.cli.progress import wait_with_progress
from secateur.client.cli.render import render_job
from secateur.workers.engine.datasets import load
from secateur.workers.engine.tflm import classify_on_tflm

ROOT = Path(__file__).parents[2]
DATASET = "digits"
NETWORK = Zoo("resnet20", input_shape=(8, 8, 1), classes=10)
TARGET = Target(profile="stm32f746", flash="128KiB", ram="64KiB", latency="6ms", macs="1.2M", accuracy=0.95)
EPOCHS = 30
WAIT_SECONDS = 300

console = Console(stderr=False)


@contextlib.contextmanager
def local_stack(folder: Path) -> Iterator[str]:
    """Runs redis, server and worker under honcho while the context is open; yields the server's address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SECATEUR_DATA_DIR": str(folder),
        "SECATEUR_LISTEN_ADDRESS": address,
    }
    subprocess.run([sys.executable, "-m", "migrations.upgrade"], cwd=ROOT, env=env, check=True)
    with (folder / "stack.log").open("wb") as log:
        honcho = subprocess.Popen(
            ["honcho", "start", "--procfile", str(ROOT / "deploy/local/Procfile")], cwd=folder, env=env, stdout=log, stderr=log
        )
    try:
        yield address
    except BaseException:
        console.print((folder / "stack.log").read_text(errors="replace")[-4000:], style="dim", highlight=False, markup=False)
        raise
    finally:
        honcho.send_signal(signal.SIGTERM)
        honcho.wait(timeout=30)


def play_device(client: Client, job: Job, folder: Path) -> tuple[str, float]:
    """Does what a device does: resolve, download, check, run. Returns the model's name and its accuracy on the device."""
    resolution = client.resolve(job.architecture, DATASET, budget=TARGET)
    console.print(f"\nThe device asks for a model of its size and gets [bold]{resolution.model.name}[/]")
    (path,) = resolution.model.download(folder, formats=[resolution.artifact.format])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != resolution.artifact.sha256:
        raise RuntimeError(f"The download does not match its digest. Expected {resolution.artifact.sha256}, received {digest}")
    console.print(f"Downloaded {path.stat().st_size:,} bytes; SHA-256 {digest[:16]}... matches")
    test = load(DATASET, seed=0, validation_fraction=0.1).test
    labels = classify_on_tflm(path.read_bytes(), test.images)
    return resolution.model.name, float((labels == test.labels).mean())


def main() -> int:
    """Runs the demo; returns the exit status."""
    with (
        tempfile.TemporaryDirectory(prefix="secateur-demo-") as name,
        local_stack(Path(name)) as address,
        Client(address, retry=Retry(first_contact=60)) as client,
    ):
        job = client.submit(NETWORK, dataset=DATASET, targets=[TARGET], epochs=EPOCHS)
        console.print(f"Submitted [bold]{job.name}[/]: ResNet-20 on {DATASET} for {TARGET.profile}")
        wait_with_progress(job, timeout=WAIT_SECONDS, console=console)
        models = job.models()
        console.print(render_job(job, models))
        if job.state != "SUCCEEDED":
            console.print(f"The job ended {job.state}: {job.error or job.results}")
            return 1
        model_name, on_device = play_device(client, job, Path(name))
        accuracy = {artifact.format.removeprefix("litert-"): artifact.accuracy for artifact in models[0].artifacts}
        summary = {
            "job": job.name,
            "state": job.state,
            "model": model_name,
            "accuracy": {**accuracy, "on_device": on_device},
            "limits": [
                {"name": c.resource, "asked": c.asked, "achieved": c.achieved, "met": c.met, "method": c.method}
                for c in job.results[0].compliance
            ],
        }
    print(json.dumps(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
