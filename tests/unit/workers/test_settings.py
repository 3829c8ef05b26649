"""What a worker reads from its environment."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from secateur.core.routing import Need
from secateur.workers.settings import WorkerSettings


def test_a_worker_takes_every_queue_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECATEUR_WORKER_QUEUES", raising=False)
    assert set(WorkerSettings().worker_queues) == set(Need)
    monkeypatch.setenv("SECATEUR_WORKER_QUEUES", "gpu")
    assert WorkerSettings().worker_queues == (Need.GPU,)
    monkeypatch.setenv("SECATEUR_WORKER_QUEUES", "cpu, gpu")
    assert WorkerSettings().worker_queues == (Need.CPU, Need.GPU)


@pytest.mark.parametrize("names", ["tpu", "gpu,,cpu"])
def test_a_queue_that_nobody_sends_to_is_refused(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_WORKER_QUEUES", names)
    with pytest.raises(ValidationError, match="'gpu' or 'cpu'"):
        WorkerSettings()


def test_no_device_is_a_device_but_no_queue_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_WORKER_DEVICE", "")
    assert WorkerSettings().worker_device == ""
    monkeypatch.setenv("SECATEUR_WORKER_QUEUES", "")
    with pytest.raises(ValidationError, match="set but empty"):
        WorkerSettings()
