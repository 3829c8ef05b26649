"""Garbage collection: whatever races, and in whatever order, nothing is lost that somebody needs."""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import delete

from secateur.store import Store
from secateur.store.ages import SLACK
from secateur.store.blobs import BlobStore, path_of
from secateur.store.gc import Collector
from secateur.store.tables import DatasetRow
from tests.support.garbage import AGES, is_there, refer

NUMBERS = st.integers(0, 1)


def test_racing_workers_users_and_sweeps_never_lose_a_blob_that_is_referred_to(sqlite_url: str, tmp_path: Path) -> None:
    """With ages of parts of a second: everything is put, referred to, read, forgotten and swept at once."""
    url, slack, grace = f"file://{tmp_path}/blobs", timedelta(seconds=0.4), timedelta(seconds=1.2)
    store, stop = Store(sqlite_url), threading.Event()
    collector = Collector(store, url, replace(AGES, grace=grace), shortest_grace=grace)
    lost: list[str] = []
    swept = []

    def use(seed: int) -> None:
        draw, blobs = random.Random(seed), BlobStore(url)
        while not stop.is_set():
            data = b"%d" % draw.randrange(6)
            digest, project = blobs.put(data), f"p-{seed}"
            put_at = time.monotonic()
            refer(store, digest, project=project)
            in_time = time.monotonic() - put_at < (grace - slack).total_seconds()  # a busy machine may break the promise
            for _ in range(draw.randrange(1, 4)):
                time.sleep(draw.random() * 0.3)
                if in_time and not is_there(blobs, digest):
                    lost.append(digest)
            with store.unit_of_work() as work:
                work.session.execute(delete(DatasetRow).where(DatasetRow.project == project))
                work.commit()
            time.sleep(draw.random() * 0.8)

    def collect() -> None:
        while not stop.is_set():
            swept.append(collector.sweep())

    with ThreadPoolExecutor(5) as pool:
        running = [*map(pool.submit, [use] * 3, range(3)), pool.submit(collect), pool.submit(collect)]
        time.sleep(4)
        stop.set()
        for future in running:
            future.result()
    store.close()

    assert lost == []
    assert sum(sweep.quarantined for sweep in swept) > 0


class Garbage(RuleBasedStateMachine):
    """Two projects put, refer, forget and sweep while time goes by; whoever refers does so in time."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(os.environ["SECATEUR_TEST_FOLDER"]) / os.urandom(8).hex()
        self.folder.mkdir()
        self.now = datetime.now(UTC) + timedelta(hours=1)
        self.store = Store(os.environ["SECATEUR_TEST_DATABASE"])
        self._forget_all()
        url = f"file://{self.folder}"
        self.blobs = BlobStore(url)
        self.collector = Collector(self.store, url, AGES, clock=lambda: self.now)
        self.referred: set[str] = set()

    @initialize()
    def both_are_there_and_old(self) -> None:
        for number in (0, 1):
            self._put(number)
        self.time_goes_by(25)

    def teardown(self) -> None:
        """Nothing stays for ever but what is referred to. Not a rule: whatever comes after it finds an empty store."""
        for _ in range(3):
            self.sweep_after(25)
        left = {file for file in self.folder.rglob("*") if file.is_file()}
        referred = {self.folder / path_of(digest) for digest in self.referred}
        self.store.close()
        assert left == referred

    def _forget_all(self) -> None:
        with self.store.unit_of_work() as work:
            work.session.execute(delete(DatasetRow))
            work.commit()

    @rule(number=NUMBERS)
    def put_and_never_refer(self, number: int) -> None:
        self._put(number)

    def _put(self, number: int) -> str:
        digest = self.blobs.put(b"blob %d" % number)
        file = self.folder / path_of(digest)
        if file.stat().st_mtime < datetime.now(UTC).timestamp() + 60:  # just written: by the machine's clock, not by ours
            os.utime(file, (0, self.now.timestamp()))
        return digest

    @rule(number=NUMBERS, hours=st.sampled_from([(1, 20, 1), (22,), (0, 22), (11, 11), ()]))
    def put_and_refer_in_time(self, number: int, hours: tuple[int, ...]) -> None:
        assert timedelta(hours=sum(hours)) < AGES.grace - SLACK
        digest = self._put(number)
        for wait in hours:
            self.now += timedelta(hours=wait)
            self.collector.sweep()
        refer(self.store, digest)
        self.referred.add(digest)

    @precondition(lambda self: self.referred)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(sorted(self.referred)))
        with self.store.unit_of_work() as work:
            work.session.execute(delete(DatasetRow).where(DatasetRow.digest == digest))
            work.commit()
        self.referred.remove(digest)

    @rule(hours=st.sampled_from([11, 25]))
    def time_goes_by(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(hours=st.sampled_from([25, 22, 11, 0]))
    def sweep_after(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        self.collector.sweep()

    @invariant()
    def what_is_referred_to_can_be_read(self) -> None:
        assert all(is_there(self.blobs, digest) for digest in self.referred)


@pytest.fixture
def machine_folder(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "machine").mkdir()
    monkeypatch.setenv("SECATEUR_TEST_FOLDER", str(tmp_path / "machine"))
    monkeypatch.setenv("SECATEUR_TEST_DATABASE", sqlite_url)


@pytest.mark.usefixtures("machine_folder")
def test_no_order_of_events_loses_a_blob_that_is_referred_to() -> None:
    # Ten steps can be read as they are; to shrink them takes minutes.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    how = settings(max_examples=40, stateful_step_count=10, deadline=None, phases=phases)
    run_state_machine_as_test(Garbage, settings=how)
