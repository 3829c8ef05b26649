"""Which finished model of a family fits a device's limits best; and if none does, which limit is to blame."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from secateur.core.cost import Work, predict_latency_ms
from secateur.core.devices import DeviceProfile
from secateur.core.errors import FailedPrecondition, NotFound
from secateur.core.resources import Budget, Compliance, Resource, latency_needs_profile


@dataclass(frozen=True, slots=True)
class Figure:
    """One known figure of a model.

    Args:
        value: In the unit of its resource.
        method: How it was obtained, for people.
    """

    value: float
    method: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """Everything that is known of a model.

    Args:
        figures: What is known of it by resource; accuracy and flash always. Latency only where it was measured on the class of
            device that asks: otherwise it is predicted from the profile.
        work: What its layers do, which latency is predicted from.
    """

    figures: Mapping[Resource, Figure]
    work: tuple[Work, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """A model as a shelf takes it.

    Args:
        id: Id of the model.
        figures: What is known of it by resource; accuracy and flash always.
    """

    id: str
    figures: Mapping[Resource, float]


@dataclass(frozen=True, slots=True)
class Found:
    """The model that fits best, and how many of its family fit."""

    id: str
    fitting: int


class Shelf:
    """The models of one family, ranked once and asked often: the most accurate first, of equal ones the smallest file first.

    A column of numbers per resource, so that a question neither touches nor keeps an object per model.

    Args:
        offers: Models of one family.
    """

    def __init__(self, offers: Iterable[Offer]) -> None:
        ranked = sorted(offers, key=_rank)
        self._ids = tuple(offer.id for offer in ranked)
        self._columns = {
            resource: array("d", (offer.figures.get(resource, _worst(resource)) for offer in ranked)) for resource in Resource
        }

    def __len__(self) -> int:
        return len(self._ids)

    def best(self, limits: Budget, predicted_ms: Mapping[str, float] | None = None) -> Found:
        """Returns the first model that keeps every limit.

        Args:
            limits: Absolute limits, those of the device's profile included (`secateur.core.planning.merged`).
            predicted_ms: Latency of every model on the device by its id, for those of which it was not measured; None if there
                is no profile to predict it from. Only looked at where latency is limited.

        Raises:
            InvalidArgument: LIMIT_INVALID for a fraction, LIMIT_NEEDS_PROFILE for a latency that can be neither looked up nor
                predicted.
            NotFound: FAMILY_EMPTY, if there are no models.
            FailedPrecondition: NO_MODEL_FITS, naming the limit that binds, the best value on offer, and the model that comes
                nearest with the margin of its worst limit.
        """
        asked = limits.resolve({}).asked()
        if not self._ids:
            raise NotFound(
                "FAMILY_EMPTY", "There is no finished model of this architecture and data set yet; submit a job for one."
            )
        columns = {resource: self._column(resource, predicted_ms) for resource in asked}
        fitting: Sequence[int] = range(len(self._ids))
        for resource, bound in asked.items():
            column = columns[resource]
            if resource.is_floor:
                fitting = [place for place in fitting if column[place] >= bound]
            else:
                fitting = [place for place in fitting if column[place] <= bound]
        if not fitting:
            raise self._nothing_fits(asked, columns)
        return Found(self._ids[fitting[0]], len(fitting))

    def _column(self, resource: Resource, predicted_ms: Mapping[str, float] | None) -> array[float]:
        column = self._columns[resource]
        if resource is not Resource.LATENCY_MS or _UNKNOWN not in column:
            return column
        if predicted_ms is None:
            raise latency_needs_profile()
        return array(
            "d", (predicted_ms[each] if known == _UNKNOWN else known for each, known in zip(self._ids, column, strict=True))
        )

    def _nothing_fits(self, asked: Mapping[Resource, float], columns: Mapping[Resource, array[float]]) -> FailedPrecondition:
        """Returns the error for a device that no model fits.

        The limit to blame is one that no model keeps: of several, the one that even its best model misses by the largest
        margin. If every limit is kept by some model, it is the one that the fewest models keep.
        """
        outcomes = {
            resource: [Compliance(resource, bound, achieved, "") for achieved in columns[resource]]
            for resource, bound in asked.items()
        }
        best = {resource: max(limits, key=lambda limit: limit.margin) for resource, limits in outcomes.items()}
        binding = min(best, key=lambda name: (min(best[name].margin, 0.0), sum(limit.met for limit in outcomes[name])))
        worst = [min(limit.margin for limit in limits) for limits in zip(*outcomes.values(), strict=True)]
        margin = max(worst)
        offer = best[binding]
        word = "largest" if binding.is_floor else "smallest"
        offered = f"the {word} on offer is {offer.achieved:,.10g}" if offer.achieved != _UNKNOWN else "it is known of no model"
        bound = "at least" if binding.is_floor else "at most"
        relax = "lower" if binding.is_floor else "raise"
        return FailedPrecondition(
            "NO_MODEL_FITS",
            f"No model on offer keeps all limits. {binding.value} binds: {bound} {offer.asked:,.10g} is asked, "
            f"{offered}. Submit a job with this limit, or {relax} it.",
            field=binding.value,
            metadata={
                "binding_limit": binding.value,
                "asked": f"{offer.asked:.10g}",
                "on_offer": f"{offer.achieved:.10g}",
                "nearest_model": self._ids[worst.index(margin)],
                "nearest_margin": f"{margin:.4g}",
            },
        )


def compliance_of(candidate: Candidate, limits: Budget, profile: DeviceProfile | None = None) -> tuple[Compliance, ...]:
    """Returns how every limit comes out for a model.

    Args:
        candidate: The model.
        limits: Absolute limits, those of the device's profile included.
        profile: Class of the device, which latency is predicted from.

    Raises:
        InvalidArgument: LIMIT_NEEDS_PROFILE for a latency that can be neither looked up nor predicted.
    """
    figures = {limit.resource: _figure(candidate, limit.resource, profile) for limit in limits.limits}
    asked = limits.asked()
    return tuple(
        Compliance(
            limit.resource, asked[limit.resource], figures[limit.resource].value, figures[limit.resource].method, limit.origin
        )
        for limit in limits.limits
    )


def _rank(offer: Offer) -> tuple[float, float, str]:
    return -offer.figures[Resource.ACCURACY], offer.figures[Resource.FLASH_BYTES], offer.id


def _figure(candidate: Candidate, resource: Resource, profile: DeviceProfile | None) -> Figure:
    known = candidate.figures.get(resource)
    if known is not None:
        return known
    if resource is Resource.LATENCY_MS:
        if profile is None:
            raise latency_needs_profile()
        return Figure(predict_latency_ms(candidate.work, profile), f"predicted: roofline of {profile.id}")
    return Figure(_worst(resource), "not known of this model")


_UNKNOWN: Final = float("inf")


def _worst(resource: Resource) -> float:
    return 0.0 if resource.is_floor else _UNKNOWN
