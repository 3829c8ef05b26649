"""Which finished models fit a device's limits, best first; and if none does, which limit is to blame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from secateur.core.cost import Work, predict_latency_ms
from secateur.core.devices import DeviceProfile
from secateur.core.errors import FailedPrecondition, InvalidArgument, NotFound
from secateur.core.resources import Budget, Compliance, Resource


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
    """A model on offer.

    Args:
        id: Id of the model.
        figures: What is known of it by resource; accuracy and flash always. Latency only where it was measured on the class of
            device that asks: otherwise it is predicted from the profile.
        work: What its layers do, which latency is predicted from.
    """

    id: str
    figures: Mapping[Resource, Figure]
    work: tuple[Work, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """A candidate that fits, and how every limit comes out for it."""

    candidate: Candidate
    compliance: tuple[Compliance, ...]


def fit(candidates: Sequence[Candidate], limits: Budget, profile: DeviceProfile | None = None) -> tuple[Match, ...]:
    """Returns the candidates that keep every limit: the most accurate first, of equal ones the smallest file first.

    Args:
        candidates: Models of one family.
        limits: Absolute limits, those of the device's profile included (`secateur.core.planning.merged`).
        profile: Class of the device, which latency is predicted from.

    Raises:
        InvalidArgument: LIMIT_INVALID for a fraction, LIMIT_NEEDS_PROFILE for a latency that can be neither looked up nor
            predicted.
        NotFound: FAMILY_EMPTY, if there are no candidates.
        FailedPrecondition: NO_MODEL_FITS, naming the limit that binds and the smallest value on offer.
    """
    absolute = limits.resolve({})
    if not candidates:
        raise NotFound(
            "FAMILY_EMPTY", "There is no finished model of this architecture and data set yet; submit a job for one."
        )
    outcomes = [Match(candidate, _compliance(candidate, absolute, profile)) for candidate in candidates]
    fitting = [match for match in outcomes if all(limit.met for limit in match.compliance)]
    if not fitting:
        raise _nothing_fits(outcomes)
    return tuple(sorted(fitting, key=_rank))


def _rank(match: Match) -> tuple[float, float, str]:
    figures = match.candidate.figures
    return -figures[Resource.ACCURACY].value, figures[Resource.FLASH_BYTES].value, match.candidate.id


def _compliance(candidate: Candidate, limits: Budget, profile: DeviceProfile | None) -> tuple[Compliance, ...]:
    figures = {limit.resource: _figure(candidate, limit.resource, profile) for limit in limits.limits}
    asked = limits.asked()
    return tuple(
        Compliance(
            limit.resource, asked[limit.resource], figures[limit.resource].value, figures[limit.resource].method, limit.origin
        )
        for limit in limits.limits
    )


def _figure(candidate: Candidate, resource: Resource, profile: DeviceProfile | None) -> Figure:
    known = candidate.figures.get(resource)
    if known is not None:
        return known
    if resource is Resource.LATENCY_MS:
        if profile is None:
            raise InvalidArgument(
                "LIMIT_NEEDS_PROFILE",
                "A limit on latency needs a device profile, whose speed it is predicted from. Received: no device profile",
                field=resource.value,
            )
        return Figure(predict_latency_ms(candidate.work, profile), f"predicted: roofline of {profile.id}")
    worst = 0.0 if resource.is_floor else float("inf")
    return Figure(worst, "not known of this model")


def _nothing_fits(outcomes: Iterable[Match]) -> FailedPrecondition:
    """Returns the error for a device that no model fits.

    The limit to blame is the one that even the best model on offer for it misses, by most; if each limit is kept by some
    model, the one that the fewest models keep.
    """
    by_resource: dict[Resource, list[Compliance]] = {}
    for match in outcomes:
        for limit in match.compliance:
            by_resource.setdefault(limit.resource, []).append(limit)
    best = {resource: max(limits, key=lambda limit: limit.margin) for resource, limits in by_resource.items()}
    binding = min(best, key=lambda name: (min(best[name].margin, 0.0), sum(limit.met for limit in by_resource[name])))
    offer = best[binding]
    word = "largest" if binding.is_floor else "smallest"
    bound = "at least" if binding.is_floor else "at most"
    return FailedPrecondition(
        "NO_MODEL_FITS",
        f"No model on offer keeps all limits. {binding.value} binds: {bound} {offer.asked:,.10g} is asked, "
        f"the {word} on offer is {offer.achieved:,.10g}. Submit a job with this limit, or raise it.",
        field=binding.value,
        metadata={"binding_limit": binding.value, "asked": f"{offer.asked:.10g}", "on_offer": f"{offer.achieved:.10g}"},
    )
