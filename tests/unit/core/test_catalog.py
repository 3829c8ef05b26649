"""Which model a device gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.core import devices
from secateur.core.catalog import Candidate, Figure, Found, Offer, Shelf, compliance_of
from secateur.core.cost import Work, predict_latency_ms
from secateur.core.devices import DeviceProfile
from secateur.core.errors import FailedPrecondition, InvalidArgument, NotFound
from secateur.core.resources import Budget, Resource


def offer(name: str, accuracy: float, flash: float, ram: float = 20_000, macs: float = 1e6, **others: float) -> Offer:
    figures = {"accuracy": accuracy, "flash_bytes": flash, "ram_bytes": ram, "macs": macs, **others}
    return Offer(name, {Resource(key): value for key, value in figures.items()})


def candidate(of: Offer) -> Candidate:
    known = {resource: Figure(value, f"measured {resource.value}") for resource, value in of.figures.items()}
    return Candidate(known, work(of))


def work(of: Offer) -> tuple[Work, ...]:
    return (Work(macs=int(of.figures[Resource.MACS]), moved_bytes=0, operators=0),)


def best(limits: Budget, *offers: Offer, profile: DeviceProfile | None = None) -> Found:
    predicted = {each.id: predict_latency_ms(work(each), profile) for each in offers} if profile else None
    return Shelf(offers).best(limits, predicted)


SMALL = offer("small", 0.90, 40_000, ram=10_000)
MEDIUM = offer("medium", 0.95, 80_000, ram=20_000)
LARGE = offer("large", 0.97, 160_000, ram=40_000)
OFFER = [SMALL, LARGE, MEDIUM]


def test_the_most_accurate_that_fits_is_found_and_those_that_fit_are_counted() -> None:
    assert best(Budget.of(flash_bytes=1_000_000), *OFFER) == Found("large", 3)
    assert best(Budget.of(flash_bytes=100_000), *OFFER) == Found("medium", 2)
    assert best(Budget.of(flash_bytes=100_000, ram_bytes=10_000), *OFFER) == Found("small", 1)
    assert best(Budget.of(accuracy=0.95), *OFFER) == Found("large", 2)


def test_of_equally_accurate_models_the_smaller_is_found_and_of_equals_the_first_by_id() -> None:
    thin, thick = offer("z", 0.95, 60_000), offer("a", 0.95, 70_000)
    assert best(Budget.of(ram_bytes=50_000), thick, thin).id == "z"
    twin = offer("b", 0.95, 60_000)
    assert best(Budget.of(ram_bytes=50_000), thin, twin).id == "b"


def test_compliance_says_how_each_limit_came_out() -> None:
    (flash,) = compliance_of(candidate(MEDIUM), Budget.of(flash_bytes=100_000))
    assert (flash.resource, flash.asked, flash.achieved) == (Resource.FLASH_BYTES, 100_000, 80_000)
    assert flash.method == "measured flash_bytes"
    assert flash.met
    assert flash.margin == pytest.approx(0.2)


@given(
    st.lists(st.tuples(st.floats(0.1, 1), st.integers(1, 1_000), st.integers(1, 1_000)), min_size=1, max_size=12),
    st.integers(1, 1_000),
    st.integers(1, 1_000),
)
def test_no_model_that_keeps_every_limit_goes_before_the_one_found(
    rows: list[tuple[float, int, int]], flash: int, ram: int
) -> None:
    offers = [offer(str(place), *row) for place, row in enumerate(rows)]
    fitting = [(-row[0], row[1], str(place)) for place, row in enumerate(rows) if row[1] <= flash and row[2] <= ram]
    try:
        found = best(Budget.of(flash_bytes=flash, ram_bytes=ram), *offers)
    except FailedPrecondition:
        assert not fitting
    else:
        assert found == Found(min(fitting)[2], len(fitting))


def test_latency_is_predicted_from_the_profile() -> None:
    profile = devices.get("nrf52840")  # 17.1 M MACs per second: 1 M MACs take 58.4 ms
    assert best(Budget.of(latency_ms=60), SMALL, profile=profile).id == "small"
    (latency,) = compliance_of(Candidate({}, work(SMALL)), Budget.of(latency_ms=60), profile)
    assert latency.achieved == pytest.approx(58.4, abs=0.1)
    with pytest.raises(FailedPrecondition):
        best(Budget.of(latency_ms=50), SMALL, profile=profile)


def test_latency_measured_on_the_device_goes_first() -> None:
    measured = offer("measured", 0.9, 40_000, latency_ms=45)
    assert best(Budget.of(latency_ms=50), measured, SMALL, profile=devices.get("nrf52840")) == Found("measured", 1)
    (latency,) = compliance_of(candidate(measured), Budget.of(latency_ms=50))
    assert (latency.achieved, latency.method) == (45, "measured latency_ms")


def test_latency_without_a_profile() -> None:
    with pytest.raises(InvalidArgument) as caught:
        best(Budget.of(latency_ms=50), SMALL)
    assert caught.value.reason == "LIMIT_NEEDS_PROFILE"
    with pytest.raises(InvalidArgument):
        compliance_of(candidate(SMALL), Budget.of(latency_ms=50))


@pytest.mark.parametrize(
    ("limits", "binding", "on_offer"),
    [
        (Budget.of(flash_bytes=30_000), "flash_bytes", "40000"),
        (Budget.of(flash_bytes=30_000, ram_bytes=9_999), "flash_bytes", "40000"),  # missed by a third, ram by a hair
        (Budget.of(accuracy=0.99), "accuracy", "0.97"),
        (Budget.of(accuracy=0.92, ram_bytes=10_000), "ram_bytes", "10000"),  # each alone is kept; ram by one model only
        (Budget.of(accuracy=0.92, ram_bytes=19_000), "ram_bytes", "10000"),  # though by that one amply
    ],
)
def test_nothing_fits(limits: Budget, binding: str, on_offer: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        best(limits, *OFFER)
    error = caught.value
    assert error.reason == "NO_MODEL_FITS"
    assert error.field == error.metadata["binding_limit"] == binding
    assert error.metadata["on_offer"] == on_offer
    assert binding in error.message


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            Budget.of(flash_bytes=30_000),
            "at most 30,000 is asked, the smallest on offer is 40,000. Submit a job with this limit, or raise",
        ),
        (
            Budget.of(accuracy=0.99),
            "at least 0.99 is asked, the largest on offer is 0.97. Submit a job with this limit, or lower",
        ),
    ],
)
def test_a_floor_is_spoken_of_as_a_floor(limits: Budget, said: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        best(limits, *OFFER)
    assert said in caught.value.message


def test_a_figure_that_no_model_has_is_not_on_offer() -> None:
    unmeasured = Offer("old", {Resource.ACCURACY: 0.9, Resource.FLASH_BYTES: 40_000})
    with pytest.raises(FailedPrecondition, match=r"at most 10,000 is asked, it is known of no model\. Submit a job"):
        best(Budget.of(ram_bytes=10_000), unmeasured)


def test_where_nothing_fits_the_nearest_model_is_named_with_its_margin() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        best(Budget.of(flash_bytes=60_000, accuracy=0.94), *OFFER)
    # small misses the floor by 4 %, medium the flash by a third
    assert (caught.value.metadata["nearest_model"], caught.value.metadata["nearest_margin"]) == ("small", "-0.04255")


def test_what_is_not_known_does_not_fit() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        best(Budget.of(memory_bytes=1e9), SMALL)
    assert caught.value.metadata["binding_limit"] == "memory_bytes"
    assert best(Budget.of(memory_bytes=1e9), SMALL, offer("known", 0.8, 1, memory_bytes=5)).id == "known"
    (unknown,) = compliance_of(candidate(SMALL), Budget.of(memory_bytes=1e9))
    assert (unknown.met, unknown.method) == (False, "not known of this model")


def test_empty_family() -> None:
    with pytest.raises(NotFound) as caught:
        best(Budget.of(flash_bytes=1))
    assert caught.value.reason == "FAMILY_EMPTY"


def test_fractions_mean_nothing_to_a_device() -> None:
    with pytest.raises(InvalidArgument) as caught:
        best(Budget.fractions(flash_bytes=0.5), *OFFER)
    assert caught.value.reason == "LIMIT_INVALID"
