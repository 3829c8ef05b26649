"""What the server tells malloc."""

from __future__ import annotations

import subprocess
import sys

CHURN = """
import resource, sys
from secateur.server.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
for number in range(120):
    if number == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    chunks = [bytes(2**20) for _ in range(8)]
    chunks.clear()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", CHURN, how], check=True, capture_output=True)
    return int(done.stdout)


def test_chunks_are_not_given_back_to_the_kernel_with_every_message() -> None:
    assert faults("kept") < faults("as it is") / 10
