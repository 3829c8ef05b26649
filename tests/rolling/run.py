"""Whether an earlier release works on the database of this one: its own tests of store and server, with today's migrations.

`make rolling COMMIT=...` fails as they do. Needs the history of the repository, and the packages that the release
was made for.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.stack import ROOT

DISTRIBUTIONS = ("proto", "server", "workers", "client")
TESTS = ("tests/unit/store", "tests/integration/server")
MEANT_TO_FAIL = (
    "tests/unit/store/test_migrations.py",  # that the migrations make the tables of the code, and no others
    "tests/unit/store/test_database.py::test_text_in_another_order_is_drift",
)


def run(commit: str) -> int:
    """Returns the exit code of the tests of a commit, each on a database that today's migrations have made."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, commit], cwd=ROOT, check=True)
        try:
            shutil.rmtree(tree / "migrations")
            shutil.copytree(ROOT / "migrations", tree / "migrations")
            tests = [*TESTS, *(f"--deselect={test}" for test in MEANT_TO_FAIL)]
            options = ["-p", "no:cacheprovider", "--numprocesses", "auto", "--dist", "loadfile"]
            path = os.pathsep.join([str(tree), *(str(tree / name) for name in DISTRIBUTIONS)])
            return subprocess.run(
                [sys.executable, "-m", "pytest", *options, *tests], cwd=tree, env=os.environ | {"PYTHONPATH": path}, check=False
            ).returncode
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="tag or commit of the release")
    sys.exit(run(parser.parse_args().commit))
