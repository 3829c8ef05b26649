"""What the caller asks for, as protobuf messages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from numbers import Integral
from typing import Any, Final, Protocol, TypeVar

from google.protobuf import duration_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from secateur.client import units
from secateur.client._messages import REFUSALS, made, refused
from secateur.client._sources import KerasJson
from secateur.client.errors import UsageError
from secateur.client.recipes import Recipe
from secateur.client.targets import Budget, Planning, Target, Zoo
from secateur.client.values import HybridPolicy, Limit, SearchPolicy
from secateur.v1 import architecture_service_pb2 as architectures_pb
from secateur.v1 import device_profile_service_pb2 as devices_pb
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import plan_service_pb2 as plans_pb
from secateur.v1 import resources_pb2 as resources_pb

_CHUNK_BYTES: Final = 2**20

_FILLED: Final = frozenset({FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_BOOL})
"""Types of the numbers and switches of a recipe."""

_NumberT = TypeVar("_NumberT", bound=int)
_NumberOutT = TypeVar("_NumberOutT", bound=int, covariant=True)


class _Enum(Protocol[_NumberOutT]):
    """What protobuf generates for an enum."""

    def keys(self) -> list[str]: ...

    def Value(self, name: str) -> _NumberOutT: ...  # noqa: N802 -- protobuf's own name


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
    """Returns the messages of one target or of several, their device profiles still as they were given.

    Raises:
        UsageError: If there is none.
    """
    several = [asked] if isinstance(asked, Target) else list(asked)
    if not several:
        raise UsageError("TARGETS_EMPTY", "At least one target is needed. Received: none", field="targets")
    return [made(plans_pb.Target, device_profile=target.profile, budget=budget(target)) for target in several]


def policy(
    *,
    mode: str | None = None,
    step: float | None = None,
    round_to: int | None = None,
    min_width: int | None = None,
    residual: str | None = None,
    temperature: float | None = None,
    hybrid: HybridPolicy | None = None,
    search: SearchPolicy | None = None,
    literal: bool = False,
) -> plans_pb.PlanPolicy:
    """Returns the message of a planning policy; the arguments are those of `Planning`, None for the service's default.

    Raises:
        UsageError: If a word is not one of those there are, a count is not above zero, or `hybrid` is given for another mode.
    """
    if hybrid is not None and mode != "hybrid":
        raise UsageError(
            "POLICY_INVALID",
            f"Criterion, order, alpha and rounds are for mode hybrid alone; take that mode or leave them out. "
            f"Received: mode {mode or 'device'}",
            field="hybrid",
        )
    return made(
        plans_pb.PlanPolicy,
        mode=_word(plans_pb.PlanMode, "mode", mode),
        step=step,
        round_to=_count("round_to", round_to),
        min_width=_count("min_width", min_width),
        residual=_word(plans_pb.Residual, "residual", residual),
        temperature=temperature,
        hybrid=_hybrid(hybrid) if hybrid is not None else None,
        search=_search(search) if search is not None else None,
        literal=literal,
    )


def _hybrid(asked: HybridPolicy) -> plans_pb.HybridPolicy:
    return made(
        plans_pb.HybridPolicy,
        criterion=_word(plans_pb.Criterion, "criterion", asked.criterion),
        order=_word(plans_pb.Order, "order", asked.order),
        alpha=asked.alpha,
        rounds=_count("rounds", asked.rounds),
    )


def _search(asked: SearchPolicy) -> plans_pb.SearchPolicy:
    return made(
        plans_pb.SearchPolicy,
        candidates=_count("candidates", asked.candidates),
        finalists=_count("finalists", asked.finalists),
        brief_epochs=_count("brief_epochs", asked.brief_epochs),
    )


def _word(enum: _Enum[_NumberT], field: str, word: str | None) -> _NumberT:
    """Returns the enum value of a word, unset for None. "device" is PLAN_MODE_DEVICE: all names of an enum start alike."""
    unset, *names = enum.keys()
    if word is None:
        return enum.Value(unset)
    prefix = unset.removesuffix("UNSPECIFIED")
    words = [name.removeprefix(prefix).lower() for name in names]
    if word not in words:
        raise UsageError(
            f"{field.upper()}_UNKNOWN", f"{field} must be one of {', '.join(words)}. Received: {word!r}", field=field
        )
    return enum.Value(f"{prefix}{word.upper()}")


def _count(field: str, value: int | None) -> int:
    """Returns a count as the service reads it: 0 is its default, which is what None means here."""
    if value is None:
        return 0
    if not isinstance(value, Integral) or value < 1:
        raise UsageError("POLICY_INVALID", f"{field} must be a whole number above zero. Received: {value!r}", field=field)
    return value


def recipe_message(asked: str | Recipe, shorthands: Mapping[str, Any]) -> jobs_pb.Recipe:
    """Returns the message of a recipe. What the service alone can judge, such as a bound, is left to it.

    Args:
        asked: The recipe, or its name.
        shorthands: Values of its fields that go before its own; None for none.

    Raises:
        UsageError: If a word is not one of those there are, or a value is not of the right kind.
    """
    recipe = Recipe(asked) if isinstance(asked, str) else asked
    recipe = replace(recipe, **{field: value for field, value in shorthands.items() if value is not None})
    message = made(
        jobs_pb.Recipe,
        name=recipe.name,
        optimizer=_word(jobs_pb.Optimizer, "optimizer", recipe.optimizer),
        schedule=_word(jobs_pb.Schedule, "schedule", recipe.schedule),
        scratch=_word(jobs_pb.ScratchBudget, "scratch", recipe.scratch),
    )
    _fill(message, recipe)
    if recipe.augmentation is not None:
        _fill(message.augmentation, recipe.augmentation)
    return message


def _fill(message: Message, asked: object) -> None:
    """Sets the numbers and switches of a recipe that are not None; fields are named as in the API."""
    for field in message.DESCRIPTOR.fields:
        if field.cpp_type not in _FILLED or (value := getattr(asked, field.name)) is None:
            continue
        try:
            setattr(message, field.name, value)
        except REFUSALS:
            raise refused(message, field.name, value, "RECIPE_INVALID") from None


def job(
    *,
    dataset: str,
    targets: Target | Sequence[Target],
    recipe: str | Recipe,
    shorthands: Mapping[str, Any],
    seed: int,
    display_name: str,
    labels: Mapping[str, str] | None,
    priority: str | None,
    max_pending: timedelta | None,
    max_run: timedelta | None,
    planning: Planning,
) -> jobs_pb.Job:
    """Returns the message of a job to create, still without architecture, data set and profiles as they were given.

    Raises as `target_messages`, `policy` and `recipe_message` do, and UsageError if there is no such priority.
    """
    return made(
        jobs_pb.Job,
        dataset=dataset,
        targets=target_messages(targets),
        policy=policy(**planning),
        recipe=recipe_message(recipe, shorthands),
        seed=seed,
        display_name=display_name,
        labels=labels,
        priority=_word(jobs_pb.JobPriority, "priority", priority),
        max_pending_time=_duration("max_pending", max_pending),
        max_run_time=_duration("max_run", max_run),
    )


def _duration(field: str, time: timedelta | None) -> duration_pb2.Duration | None:
    if time is None:
        return None
    if not isinstance(time, timedelta):
        raise UsageError("VALUE_INVALID", f"{field} must be a timedelta. Received: {time!r}", field=field)
    message = duration_pb2.Duration()
    message.FromTimedelta(time)
    return message


def device_profile(
    *,
    flash: str | float,
    ram: str | float,
    clock: str | float,
    macs_per_second: str | float,
    runtime: str = "tflm",
    bandwidth: str | float | None = None,
    overhead: str | float | None = None,
    display_name: str = "",
    source: str = "",
) -> devices_pb.DeviceProfile:
    """Returns the message of a device profile to add; the arguments are those of `Hardware`.

    Raises:
        UsageError: If a figure cannot be read, or there is no such runtime.
    """
    return made(
        devices_pb.DeviceProfile,
        display_name=display_name,
        clock_hz=units.parse_hertz(clock, field="clock"),
        flash_bytes=units.parse_bytes(flash, field="flash"),
        ram_bytes=units.parse_bytes(ram, field="ram"),
        macs_per_second=units.parse_count(macs_per_second, field="macs_per_second"),
        bytes_per_second=None if bandwidth is None else units.parse_bytes(bandwidth, field="bandwidth"),
        seconds_per_operator=None if overhead is None else units.parse_milliseconds(overhead, field="overhead") / 1_000,
        runtime=_word(devices_pb.Runtime, "runtime", runtime),
        source=source,
    )


def upload(
    source: Zoo | KerasJson, *, parent: str, display_name: str, validate_only: bool
) -> Iterator[architectures_pb.UploadArchitectureRequest]:
    """Yields the messages of an upload."""
    spec = made(architectures_pb.ArchitectureSpec, parent=parent, display_name=display_name, validate_only=validate_only)
    content = b""
    match source:
        case Zoo(name, input_shape, classes):
            spec.zoo.CopyFrom(made(architectures_pb.ZooSource, name=name, input_shape=input_shape, classes=classes))
        case KerasJson(text):
            content = text.encode()
            digest = hashlib.sha256(content).hexdigest()
            spec.keras_json.CopyFrom(architectures_pb.KerasJsonSource(size_bytes=len(content), sha256=digest))
    yield architectures_pb.UploadArchitectureRequest(spec=spec)
    for start in range(0, len(content), _CHUNK_BYTES):
        yield architectures_pb.UploadArchitectureRequest(chunk=content[start : start + _CHUNK_BYTES])
