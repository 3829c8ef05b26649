"""Resources, limits, budgets and compliance: the vocabulary in which a fit is asked for and reported."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from secateur.core.errors import InvalidArgument


class Resource(StrEnum):
    """A quantity that a budget can limit. The unit is part of the name where there is one."""

    PARAMETERS = "parameters"
    MACS = "macs"
    FLOPS = "flops"
    MEMORY_BYTES = "memory_bytes"
    ACTIVATION_BYTES = "activation_bytes"
    FLASH_BYTES = "flash_bytes"
    RAM_BYTES = "ram_bytes"
    LATENCY_MS = "latency_ms"
    ACCURACY = "accuracy"

    @property
    def is_floor(self) -> bool:
        """Whether a limit on this resource is a lower bound."""
        return self is Resource.ACCURACY

    def holds(self, achieved: float, asked: float) -> bool:
        """Whether `achieved` keeps a limit of `asked` on this resource."""
        return achieved >= asked if self.is_floor else achieved <= asked


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound on one resource: absolute, or a fraction of the unpruned network's own value.

    Args:
        resource: What is limited.
        value: Absolute bound in the unit of the resource.
        fraction: Bound as a fraction of the unpruned network's value, in (0, 1]. Not for accuracy.
        origin: Where the limit came from: "budget" or "device_profile".

    Raises:
        InvalidArgument: Unless exactly one of `value` and `fraction` is given and lies in range.
    """

    resource: Resource
    value: float | None = None
    fraction: float | None = None
    origin: str = "budget"

    def __post_init__(self) -> None:
        for bound in ("value", "fraction"):  # 5 and 5.0 are one limit, and have to give one digest
            if getattr(self, bound) is not None:
                object.__setattr__(self, bound, float(getattr(self, bound)))
        name = self.resource.value
        if (self.value is None) == (self.fraction is None):
            raise InvalidArgument(
                "LIMIT_INVALID",
                "A limit needs either an absolute value or a fraction. "
                f"Received: {name} with value={self.value}, fraction={self.fraction}",
                field=name,
            )
        if self.value is not None and not (math.isfinite(self.value) and self.value > 0):
            raise InvalidArgument(
                "LIMIT_INVALID", f"A limit must be a finite number above zero. Received: {name}={self.value}", field=name
            )
        if self.resource is Resource.ACCURACY and (self.value is None or self.value > 1):
            raise InvalidArgument(
                "LIMIT_INVALID",
                f"An accuracy floor is an absolute value in (0, 1]. Received: value={self.value}, fraction={self.fraction}",
                field=name,
            )
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise InvalidArgument(
                "LIMIT_INVALID", f"A relative limit lies above 0 and at most at 1. Received: {name}={self.fraction}", field=name
            )


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits that must all hold.

    Raises:
        InvalidArgument: If there is no limit, or two on one resource.
    """

    limits: tuple[Limit, ...]

    def __post_init__(self) -> None:
        if not self.limits:
            raise InvalidArgument("BUDGET_EMPTY", "A budget needs at least one limit. Received: none", field="budget.limits")
        names = [limit.resource.value for limit in self.limits]
        for name in names:
            if names.count(name) > 1:
                raise InvalidArgument(
                    "LIMIT_DUPLICATE",
                    f"A budget has at most one limit per resource. Received: {name} twice",
                    field="budget.limits",
                )

    @classmethod
    def of(cls, **values: float) -> Budget:
        """Builds a budget of absolute limits: `Budget.of(parameters=50_000, flash_bytes=65_536)`."""
        return cls(tuple(Limit(Resource(name), value=value) for name, value in values.items()))

    @classmethod
    def fractions(cls, **values: float) -> Budget:
        """Builds a budget of relative limits: `Budget.fractions(parameters=0.5)` keeps half the parameters."""
        return cls(tuple(Limit(Resource(name), fraction=value) for name, value in values.items()))

    def resolve(self, unpruned: Mapping[Resource, float]) -> Budget:
        """Returns the budget with every fraction turned into an absolute value.

        Args:
            unpruned: Value of the unpruned network for every resource limited by a fraction.

        Raises:
            InvalidArgument: If a fraction is asked of a resource that `unpruned` does not have.
        """
        return Budget(tuple(_absolute(limit, unpruned) for limit in self.limits))

    def tightened_by(self, others: Iterable[Limit]) -> Budget:
        """Returns the budget with `others` added; where both limit a resource, the tighter one stays. Absolute limits only."""
        tightest = {limit.resource: limit for limit in self.limits}
        for other in others:
            mine = tightest.get(other.resource)
            if mine is None or (mine.value != other.value and other.resource.holds(_value(other), _value(mine))):
                tightest[other.resource] = other
        return Budget(tuple(tightest.values()))

    def asked(self) -> dict[Resource, float]:
        """Returns the absolute bound per resource. Raises ValueError while a fraction is unresolved."""
        return {limit.resource: _value(limit) for limit in self.limits}


@dataclass(frozen=True, slots=True)
class Compliance:
    """How one limit came out.

    Args:
        resource: What was limited.
        asked: The bound, in the unit of the resource.
        achieved: What was reached, in the same unit.
        method: How `achieved` was obtained, for people.
        origin: Where the limit came from: "budget" or "device_profile".
    """

    resource: Resource
    asked: float
    achieved: float
    method: str
    origin: str = "budget"

    @property
    def met(self) -> bool:
        """Whether the limit holds."""
        return self.resource.holds(self.achieved, self.asked)

    @property
    def margin(self) -> float:
        """Room left as a fraction of the bound; negative when the limit is missed."""
        room = self.achieved - self.asked if self.resource.is_floor else self.asked - self.achieved
        return room / self.asked


def latency_needs_profile() -> InvalidArgument:
    """Returns the error for a limit on latency where there is no device profile to predict it from: LIMIT_NEEDS_PROFILE."""
    return InvalidArgument(
        "LIMIT_NEEDS_PROFILE",
        "A limit on latency needs a device profile, whose speed it is predicted from. Received: no device profile",
        field=Resource.LATENCY_MS.value,
    )


def _absolute(limit: Limit, unpruned: Mapping[Resource, float]) -> Limit:
    if limit.fraction is None:
        return limit
    if limit.resource not in unpruned:
        raise InvalidArgument(
            "LIMIT_INVALID",
            f"A relative limit on {limit.resource.value} needs the unpruned network's value, which is unknown here; "
            f"give an absolute value. Received: fraction={limit.fraction}",
            field=limit.resource.value,
        )
    return Limit(limit.resource, value=limit.fraction * unpruned[limit.resource], origin=limit.origin)


def _value(limit: Limit) -> float:
    if limit.value is None:
        raise ValueError(f"The limit on {limit.resource.value} is relative; resolve the budget first. Received: {limit}")
    return limit.value
