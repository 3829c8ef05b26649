"""The SDK where nothing else is installed: two wheels of ours, and the hashed requirements of `requirements/client.txt`.

The environment is built once per session, by uv from its cache or from the package index.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UV = Path(sys.executable).with_name("uv")
LIMIT = 2.0
"""How long `import secateur.client` may take (issue 2), in terms of gRPC's own import: 0.1 s on a machine of today."""

FORBIDDEN = (
    "tensorflow",
    "keras",
    "numpy",
    "sqlalchemy",
    "celery",
    "redis",
    "secateur.core",
    "secateur.server",
    "secateur.workers",
)


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with proto and client, and what these need, alone."""
    folder = tmp_path_factory.mktemp("bare")
    environment, wheels = folder / "env", folder / "wheels"
    for distribution in ("proto", "client"):
        _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels), cwd=ROOT / distribution)
    python = environment / "bin" / "python"
    _run(UV, "venv", "--quiet", "--python", sys.executable, str(environment))
    install = (UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", python)
    _run(*install, "--require-hashes", "-r", ROOT / "requirements" / "client.txt")
    _run(*install, "--no-deps", *sorted(wheels.glob("*.whl")))
    return python


def test_nothing_heavy_is_there(bare_python: Path) -> None:
    program = f"""
import importlib.util, json
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
import secateur.client.cli, secateur.client.aio
print(json.dumps([name for name in {FORBIDDEN!r} if there(name)]))
"""
    assert json.loads(_run(bare_python, "-c", program)) == []


def test_importing_takes_no_time(bare_python: Path) -> None:
    def seconds(module: str) -> float:
        program = f"import time; start = time.process_time(); import {module}; print(time.process_time() - start)"
        return min(float(_run(bare_python, "-c", program)) for _ in range(3))

    assert seconds("secateur.client") < LIMIT * seconds("grpc.aio")


def test_the_command_line_is_installed(bare_python: Path) -> None:
    assert "Exit codes" in _run(bare_python.with_name("secateur"), "--help")


def _run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
