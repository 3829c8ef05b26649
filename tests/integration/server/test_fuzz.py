"""Every RPC, fuzzed from its descriptor; the long form is `make fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.fuzz_rpcs import MOST_BYTES, MOST_HANDLES, run

MESSAGES = 20_000
SEED = 0
_UNREAD = {"REQUEST_INVALID", "REQUEST_MALFORMED"}


@pytest.mark.timeout(900)
def test_no_message_brings_a_defect_to_light(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    report = run(tmp_path, messages=MESSAGES, seed=SEED)

    assert report.failures == []
    assert report.messages == MESSAGES
    for method, outcomes in report.outcomes.items():
        assert set(outcomes) - _UNREAD, f"no message got past the validation of {method}; teach `MessageMaker` what it takes"
    assert report.grown_handles <= MOST_HANDLES
    assert report.grown_bytes <= MOST_BYTES
