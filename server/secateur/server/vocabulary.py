"""Shared vocabulary between proto and domain: resources, limits, budgets, costs and compliance (resources.proto)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, Protocol, TypeVar

from google.protobuf import timestamp_pb2

from secateur.core.cost import Cost
from secateur.core.resources import Budget, Compliance, Limit, Resource
from secateur.server.fields import under
from secateur.v1 import resources_pb2

_WordT = TypeVar("_WordT", bound=Enum)
_NumberT = TypeVar("_NumberT", bound=int)

_RESOURCE: Final = "RESOURCE_"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Enum(Protocol[_NumberT]):
    """What protobuf generates for an enum."""

    def Name(self, number: _NumberT) -> str: ...  # noqa: N802 -- protobuf's own name

    def Value(self, name: str) -> _NumberT: ...  # noqa: N802 -- protobuf's own name


def word_from_proto(enum: _Enum[_NumberT], number: _NumberT, prefix: str, unset: _WordT) -> _WordT:
    """Returns the word of a known enum value.

    Args:
        enum: The generated enum.
        number: Its value.
        prefix: What the names of the enum start with, for example "PLAN_MODE_".
        unset: Word that the value 0 stands for.
    """
    return type(unset)[enum.Name(number).removeprefix(prefix)] if number else unset


def word_to_proto(enum: _Enum[_NumberT], word: Enum | None, prefix: str) -> _NumberT:
    """Returns the enum value of a word, unset for None; `enum` and `prefix` as for `word_from_proto`."""
    return enum.Value(f"{prefix}{'UNSPECIFIED' if word is None else word.name}")


def resource_to_proto(resource: Resource | None) -> resources_pb2.Resource.ValueType:
    """Returns the enum value of a resource, unset for None."""
    return word_to_proto(resources_pb2.Resource, resource, _RESOURCE)


def resource_from_proto(value: resources_pb2.Resource.ValueType) -> Resource:
    """Returns the resource of a set, known enum value."""
    return Resource[resources_pb2.Resource.Name(value).removeprefix(_RESOURCE)]


def budget_from_proto(message: resources_pb2.Budget) -> Budget:
    """Returns the budget.

    Raises:
        InvalidArgument: LIMIT_INVALID or LIMIT_DUPLICATE.
    """
    return Budget(tuple(_limit_from_proto(index, limit) for index, limit in enumerate(message.limits)))


def _limit_from_proto(index: int, message: resources_pb2.Limit) -> Limit:
    resource = resource_from_proto(message.resource)
    with under(f"budget.limits[{index}]"):
        if message.WhichOneof("bound") == "fraction":
            return Limit(resource, fraction=message.fraction)
        return Limit(resource, value=message.value)


def budget_to_proto(budget: Budget) -> resources_pb2.Budget:
    """Returns the message of a budget."""
    return resources_pb2.Budget(limits=[_limit_to_proto(limit) for limit in budget.limits])


def _limit_to_proto(limit: Limit) -> resources_pb2.Limit:
    message = resources_pb2.Limit(resource=resource_to_proto(limit.resource))
    if limit.value is not None:
        message.value = limit.value
    if limit.fraction is not None:
        message.fraction = limit.fraction
    return message


def cost_to_proto(cost: Cost) -> resources_pb2.Cost:
    """Returns the message of a cost."""
    return resources_pb2.Cost(
        parameters=cost.parameters,
        macs=cost.macs,
        flops=cost.flops,
        weight_bytes=cost.weight_bytes,
        memory_bytes=cost.memory_bytes,
        activation_bytes=cost.activation_bytes,
        peak_activation_bytes=cost.peak_activation_bytes,
        flash_bytes=cost.flash_bytes,
        ram_bytes=cost.ram_bytes,
        flash_float32_bytes=cost.flash_float32_bytes,
        energy_paper_uj=cost.energy_paper_uj,
        energy_horowitz_uj=cost.energy_horowitz_uj,
    )


def compliance_to_proto(compliance: Iterable[Compliance]) -> list[resources_pb2.Compliance]:
    """Returns one message per limit."""
    return [
        resources_pb2.Compliance(
            resource=resource_to_proto(limit.resource),
            asked=limit.asked,
            achieved=limit.achieved,
            margin=limit.margin,
            met=limit.met,
            method=limit.method,
            origin=limit.origin,
        )
        for limit in compliance
    ]


def timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    """Returns the message of an aware time; None stays unset."""
    if moment is None:
        return None
    # What `FromDatetime` does, in half the time.
    return timestamp_pb2.Timestamp(seconds=(moment - _EPOCH) // timedelta(seconds=1), nanos=moment.microsecond * 1000)
