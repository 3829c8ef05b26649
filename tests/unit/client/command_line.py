"""The command line as its tests call it: within this process, against a remote service."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from secateur.client.cli import app
from tests.unit.client.remote.service import Service

NET = ["resnet20", "--input-shape", "8x8x1", "--classes", "10"]
TARGET = ["--profile", "stm32f746", "--flash", "64KiB", "--ram", "48KiB", "--latency", "20ms", "--parameters", "50%"]
SUBMIT = ["submit", *NET, "--dataset", "digits", *TARGET]


def run(remote: Service, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--address", remote.address, *arguments])
