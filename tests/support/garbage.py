"""What the tests of garbage collection share: how old garbage has to be, references, and whether a blob is there."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

from secateur.core.datasets import DATASETS
from secateur.core.errors import NotFound
from secateur.store import Store
from secateur.store.ages import Ages
from secateur.store.blobs import BlobStore
from tests.support.store import PROJECT

DAY = timedelta(days=1)
AGES = Ages(grace=DAY, uploads=7 * DAY, trainings=30 * DAY)


def refer(store: Store, digest: str, *, project: str = PROJECT) -> None:
    """Refers to a blob, as a data set does."""
    with store.unit_of_work() as work:
        work.datasets.put(project, replace(DATASETS["digits"], name=f"set-{digest[:8]}"), digest=digest, size_bytes=1)
        work.commit()


def is_there(blobs: BlobStore, digest: str) -> bool:
    try:
        return hashlib.sha256(b"".join(blobs.read(digest))).hexdigest() == digest
    except NotFound:
        return False
