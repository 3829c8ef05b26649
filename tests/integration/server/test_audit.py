"""The audit log of calls that make nothing with a name."""

from __future__ import annotations

import hashlib

from secateur.store import Store
from secateur.v1 import architecture_service_pb2 as architectures
from tests.support.server import Api, refusal
from tests.support.stack import until


def test_what_makes_nothing_is_audited_by_what_its_request_names(api: Api, store: Store) -> None:
    text = b"no JSON"
    source = architectures.KerasJsonSource(size_bytes=len(text), sha256=hashlib.sha256(text).hexdigest())
    parts = (
        architectures.UploadArchitectureRequest(spec=architectures.ArchitectureSpec(parent=api.parent, keras_json=source)),
        architectures.UploadArchitectureRequest(chunk=text),
    )
    refusal(lambda: api.architectures.UploadArchitecture(iter(parts)))
    architecture = api.upload_zoo().name
    api.create_job(architecture=architecture, validate_only=True)

    def records() -> list[tuple[str, ...]]:
        with store.snapshot() as work:
            found = work.audit.list(project=api.project, limit=100)
        return [(row.method.rpartition("/")[2], row.resource, row.code) for row in reversed(found)]

    until(lambda: len(records()) == 3, "the audit log is written")
    assert records() == [
        ("UploadArchitecture", api.parent, "INVALID_ARGUMENT"),
        ("UploadArchitecture", architecture, "OK"),
        ("CreateJob", api.parent, "OK"),
    ]
