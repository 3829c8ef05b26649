"""What the caller asks for, as protobuf messages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from secateur.client._sources import KerasJson
from secateur.client.errors import UsageError
from secateur.client.targets import Budget, Target, Zoo
from secateur.client.values import Limit
from secateur.v1 import architecture_service_pb2 as architectures_pb
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import plan_service_pb2 as plans_pb
from secateur.v1 import resources_pb2 as resources_pb

MODES: Final = ("device", "parameters", "flops", "memory", "activation", "uniform", "stock")
"""Planning modes: by which resource it is decided where to cut, and the baselines "uniform" and "stock"."""

_CHUNK_BYTES: Final = 2**20


def in_collection(name: str, collection: str) -> str:
    """Returns a resource name: "digits" in "datasets" is "datasets/digits"; a full name or an empty one stays as it is."""
    return name if not name or "/" in name else f"{collection}/{name}"


def budget(limits: Budget) -> resources_pb.Budget | None:
    """Returns the message of a budget; None if it has no limits."""
    if not limits.limits:
        return None
    return resources_pb.Budget(limits=map(_limit, limits.limits))


def _limit(limit: Limit) -> resources_pb.Limit:
    message = resources_pb.Limit(resource=resources_pb.Resource.Value(f"RESOURCE_{limit.resource.upper()}"))
    if limit.value is not None:
        message.value = limit.value
    if limit.fraction is not None:
        message.fraction = limit.fraction
    return message


def target_messages(asked: Target | Sequence[Target]) -> list[plans_pb.Target]:
    """Returns the messages of one target or of several.

    Raises:
        UsageError: If there is none.
    """
    several = [asked] if isinstance(asked, Target) else list(asked)
    if not several:
        raise UsageError("TARGETS_EMPTY", "At least one target is needed. Received: none", field="targets")
    return [
        plans_pb.Target(device_profile=in_collection(target.profile, "deviceProfiles"), budget=budget(target))
        for target in several
    ]


def policy(mode: str, round_to: int) -> plans_pb.PlanPolicy:
    """Returns the message of a planning policy.

    Raises:
        UsageError: If the mode is not one of `MODES`.
    """
    if mode not in MODES:
        raise UsageError("MODE_UNKNOWN", f"mode must be one of {', '.join(MODES)}. Received: {mode!r}", field="mode")
    return plans_pb.PlanPolicy(mode=plans_pb.PlanMode.Value(f"PLAN_MODE_{mode.upper()}"), round_to=round_to)


def job(
    *,
    dataset: str,
    targets: Target | Sequence[Target],
    recipe: str,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    mode: str,
    round_to: int,
    seed: int,
    display_name: str,
    labels: Mapping[str, str] | None,
) -> jobs_pb.Job:
    """Returns the message of a job to create, still without architecture; raises as `target_messages` and `policy` do."""
    return jobs_pb.Job(
        dataset=in_collection(dataset, "datasets"),
        targets=target_messages(targets),
        policy=policy(mode, round_to),
        recipe=jobs_pb.Recipe(name=recipe, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate),
        seed=seed,
        display_name=display_name,
        labels=labels,
    )


def upload(
    source: Zoo | KerasJson, *, parent: str, display_name: str, validate_only: bool
) -> Iterator[architectures_pb.UploadArchitectureRequest]:
    """Yields the messages of an upload."""
    spec = architectures_pb.ArchitectureSpec(parent=parent, display_name=display_name, validate_only=validate_only)
    content = b""
    match source:
        case Zoo(name, input_shape, classes):
            spec.zoo.CopyFrom(architectures_pb.ZooSource(name=name, input_shape=input_shape, classes=classes))
        case KerasJson(text):
            content = text.encode()
            digest = hashlib.sha256(content).hexdigest()
            spec.keras_json.CopyFrom(architectures_pb.KerasJsonSource(size_bytes=len(content), sha256=digest))
    yield architectures_pb.UploadArchitectureRequest(spec=spec)
    for start in range(0, len(content), _CHUNK_BYTES):
        yield architectures_pb.UploadArchitectureRequest(chunk=content[start : start + _CHUNK_BYTES])
