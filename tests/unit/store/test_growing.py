"""A file that grows at its end."""

from __future__ import annotations

import ctypes
import mmap
import os
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secateur.store.growing import GrowingFile

BLOCK = 64 * 1024
SIZES = st.sampled_from([0, 1, 4_095, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK])


@given(st.lists(st.tuples(SIZES, st.sampled_from([0, 1, 512, 4_096])), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_added_is_there_at_once_whatever_its_length_and_its_place_in_memory(
    tmp_path: Path, pieces: list[tuple[int, int]]
) -> None:
    path = tmp_path / "file"
    path.unlink(missing_ok=True)
    expected = b""
    with closing(GrowingFile(path)) as file:
        for number, (size, place) in enumerate(pieces):
            data = memoryview(mmap.mmap(-1, 6 * BLOCK))[place : place + size]
            data[:] = bytes([number + 1]) * size
            file.append(data)
            expected += data
            assert path.read_bytes() == expected


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        GrowingFile(path)
    assert path.read_bytes() == b"mine"


def test_whole_blocks_do_not_fill_the_page_cache(tmp_path: Path) -> None:
    mounts = [mount for mount in psutil.disk_partitions(all=True) if tmp_path.is_relative_to(mount.mountpoint)]
    if max(mounts, key=lambda mount: len(mount.mountpoint)).fstype == "tmpfs":
        pytest.skip("this file system is all in memory")
    path, blocks = tmp_path / "file", mmap.mmap(-1, 16 * BLOCK)
    blocks.write(os.urandom(16 * BLOCK))
    with closing(GrowingFile(path)) as file:
        file.append(memoryview(blocks))
        file.append(b"and a bit")
    assert cached(path) == [False] * 16 + [True]


def cached(path: Path) -> list[bool]:
    """Returns of each block of a file whether its first page is in memory."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as view:
        start = ctypes.c_char.from_buffer(view)
        pages = (ctypes.c_ubyte * -(-len(view) // mmap.PAGESIZE))()
        told = ctypes.CDLL(None).mincore(ctypes.byref(start), ctypes.c_size_t(len(view)), pages)
        del start  # or the file could not be closed
    assert told == 0
    return [bool(page & 1) for page in pages[:: BLOCK // mmap.PAGESIZE]]
