"""Folders of workers: made, claimed, and removed once nobody holds them."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from secateur.workers.temporary import TemporaryFolder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary files of this machine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_lasts_until_it_is_closed_and_leaves_nothing_open(place: Path) -> None:
    open_files = psutil.Process().num_fds()
    with closing(TemporaryFolder()) as first, closing(TemporaryFolder()) as second:
        (Path(first.path) / "file").touch()
        assert {str(path) for path in place.iterdir()} == {first.path, second.path}
    assert not any(place.iterdir())
    assert psutil.Process().num_fds() <= open_files


def test_what_nobody_holds_any_more_goes_and_what_is_not_claimed_stays(place: Path) -> None:
    open_files = psutil.Process().num_fds()
    abandoned, unclaimed, foreign = (place / f"secateur-worker-{name}" for name in ("abandoned", "unclaimed", "foreign"))
    for folder in (abandoned, unclaimed):
        folder.mkdir()
    for file in (abandoned / "lock", abandoned / "file", foreign):
        file.touch()
    TemporaryFolder().close()
    assert set(place.iterdir()) == {unclaimed, foreign}
    assert psutil.Process().num_fds() <= open_files


def test_workers_that_start_at_once_take_no_folder_from_each_other(place: Path) -> None:
    def start(_: int) -> bool:
        with closing(TemporaryFolder()) as folder:
            return (Path(folder.path) / "lock").exists()

    open_files = psutil.Process().num_fds()
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(start, range(400)))
    assert psutil.Process().num_fds() <= open_files
