"""What `keep_freed_memory` is for: memory that is freed and taken again without the kernel mapping it anew."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import ctypes, resource
from secateur.store.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        bytes(8 * 1024 * 1024).count(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

ctypes.CDLL(None).mallopt(-1, 128 * 1024)  # as TensorFlow's generator datasets do
given_back = faults()
keep_freed_memory()
faults()
print(given_back, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_memory_that_is_freed_is_not_mapped_anew() -> None:
    done = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True)  # for a whole process
    given_back, kept = map(int, done.stdout.split())
    assert kept < given_back / 10


CHURN = """
import resource, sys
from secateur.store.memory import keep_freed_memory

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_chunks_are_not_given_back_to_the_kernel_with_every_message() -> None:
    assert faults("kept") < faults("as it is") / 10
