"""The help of the command line, held against a server."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from secateur.client.cli import app
from secateur.server.settings import ServerSettings
from tests.support.server import running


@pytest.mark.parametrize("kind", ["jobs", "models"])
def test_the_filters_and_orders_that_it_gives_as_examples_can_be_asked_for(settings: ServerSettings, kind: str) -> None:
    wide = CliRunner(env={"COLUMNS": "300"})
    lines = wide.invoke(app, [kind, "list", "--help"]).stdout.splitlines()
    with running(settings) as server:
        for option in ("--filter", "--order-by"):
            (line,) = [line for line in lines if option in line]
            examples = re.findall("'([^']+)'", line)
            assert examples
            for example in examples:
                done = wide.invoke(app, ["--address", server.address, kind, "list", option, example])
                assert done.exit_code == 0, done.output
