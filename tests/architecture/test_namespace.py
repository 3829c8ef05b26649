"""What must hold of the tree itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_distribution_claims_the_namespace() -> None:
    strays = [
        str(path) for folder in ("proto", "server", "workers", "client") for path in ROOT.glob(f"{folder}/secateur/__init__.py")
    ]
    assert strays == [], "one secateur/__init__.py hides every sibling distribution"


def test_the_control_plane_loads_no_training_framework() -> None:
    code = "import sys, secateur.server.app; print(sorted({'tensorflow', 'keras', 'numpy', 'jax'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_worker_parent_loads_no_training_framework() -> None:
    code = "import sys, secateur.workers.app; print(sorted({'tensorflow', 'keras', 'numpy', 'jax'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_committed_text_names_a_package_index() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        assert "://" not in path.read_text(), f"{path.name} names an address; lock with `make lock`"
