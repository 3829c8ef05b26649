"""Checkpoints: replaced as a whole, cleared with their job, shared where that is asked for."""

from __future__ import annotations

import pytest

from secateur.store.checkpoints import CheckpointStore

KEY = "a" * 64


def test_what_was_written_last_is_read_by_another_process(blob_url: str) -> None:
    assert CheckpointStore(blob_url, "job").read(KEY) is None
    for data in (b"first", b"second" * 1000):
        CheckpointStore(blob_url, "job").write(KEY, data)
        assert CheckpointStore(blob_url, "job").read(KEY) == data
    assert CheckpointStore(blob_url, "other").read(KEY) is None


def test_clearing_leaves_what_is_shared_and_what_others_have(blob_url: str) -> None:
    ours, theirs = CheckpointStore(blob_url, "ours"), CheckpointStore(blob_url, "theirs")
    ours.clear()
    for checkpoints in (ours, theirs):
        checkpoints.write(KEY, b"own")
    ours.write("b" * 64, b"shared", shared=True)
    ours.clear()
    assert (ours.read(KEY), theirs.read(KEY)) == (None, b"own")
    assert theirs.read("b" * 64) == b"shared"


@pytest.mark.parametrize("key", ["", "../x", "A" * 64, KEY + "\n"])
def test_only_digests_are_keys(blob_url: str, key: str) -> None:
    with pytest.raises(ValueError, match="A key is a SHA-256"):
        CheckpointStore(blob_url, "job").write(key, b"")
