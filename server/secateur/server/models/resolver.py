"""Resolves the model that fits a device, from memory: families as ranked columns, and the answers that were given before.

What is kept is bounded, and never older than it says: `refresh`, called every so often, drops the families that changed, and if
it has not got through for a while, nothing is answered from memory.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock
from typing import Final, Generic, TypeVar

from secateur.core.catalog import Candidate, Figure, Shelf, compliance_of
from secateur.core.cost import predict_latency_ms
from secateur.core.datasets import DatasetName
from secateur.core.devices import DeviceProfile, Runtime
from secateur.core.errors import FailedPrecondition
from secateur.core.planning import merged
from secateur.core.reports import ARENA_BYTES, PROCESS_PEAK_BYTES, ArtifactReport
from secateur.core.resources import Budget, Compliance, Resource
from secateur.server import names
from secateur.server.datasets.handlers import find_dataset
from secateur.server.device_profiles.handlers import find_profile
from secateur.server.plans.handlers import AskedTarget
from secateur.store import Store
from secateur.store.families import Family
from secateur.store.models import measured
from secateur.store.records import ModelRecord
from secateur.store.unit_of_work import Snapshot

STALE_SECONDS: Final = 5.0
"""After so long without a successful `refresh` nothing is answered from memory: a new model is seen within this time."""

CHECK_SECONDS: Final = 30.0
"""How often the versions of all families in memory are read, not only of those that have lately changed."""

MAX_AGE_SECONDS: Final = 2 * CHECK_SECONDS
"""How long a family is relied on without its version being read, whatever happens."""

MAX_MODELS: Final = 250_000
"""Models of the families in memory, at about 300 bytes each; the family loaded longest ago goes first."""

MAX_FAMILIES: Final = 10_000
"""Families in memory, however few models they have; the family loaded longest ago goes first."""

MAX_ANSWERS: Final = 64
"""Answers kept per family; the oldest goes first."""

MAX_PROFILES: Final = 32
"""Device profiles per family whose predicted latencies are kept."""

_OVERLAP: Final = timedelta(seconds=120)
"""How far back `refresh` looks: further than transactions last."""

_RAM_MEASUREMENTS: Final = {Runtime.TFLM: ARENA_BYTES, Runtime.LITERT: PROCESS_PEAK_BYTES}
"""Which measurement tells the RAM that a model takes, by what runs it."""

AnswerT = TypeVar("AnswerT")
_KeyT = TypeVar("_KeyT", bound=Hashable)
_ValueT = TypeVar("_ValueT")


@dataclass(frozen=True, slots=True)
class ResolveModel:
    """What a device asks for.

    Args:
        project: Project of the family.
        architecture: Id of the family's architecture.
        dataset: The family's data set.
        target: Device profile and limits of the device.
    """

    project: str
    architecture: str
    dataset: DatasetName
    target: AskedTarget


@dataclass(frozen=True, slots=True)
class Resolution:
    """The model that fits.

    Args:
        model: The most accurate one.
        artifact: Its file for the device.
        compliance: Every limit of the device against it.
        fitting_models: How many models of the family fit.
    """

    model: ModelRecord
    artifact: ArtifactReport
    compliance: tuple[Compliance, ...]
    fitting_models: int


@dataclass(slots=True)
class _Shelved(Generic[AnswerT]):
    """A family in memory, as of one version."""

    family: Family
    version: int
    shelves: Mapping[Runtime, Shelf]
    checked: float
    predicted_ms: dict[DeviceProfile, Mapping[str, float]] = field(default_factory=dict)
    answers: dict[Hashable, AnswerT] = field(default_factory=dict)


class Resolver(Generic[AnswerT]):
    """Answers devices. Safe to share between threads.

    Args:
        store: Where models are.
        clock: Returns seconds that never go back.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = Lock()
        self._shelved: OrderedDict[Hashable, _Shelved[AnswerT]] = OrderedDict()
        self._models = 0
        self._refreshed = self._checked = float("-inf")

    def recall(self, key: Hashable, question: Hashable) -> AnswerT | None:
        """Returns the answer that a question had and still has; None if it is not known. Never waits for anything.

        Args:
            key: What the question calls its family.
            question: Everything else that is asked.
        """
        now = self._clock()
        shelved = self._shelved.get(key)
        if shelved is None or now - self._refreshed > STALE_SECONDS or now - shelved.checked > MAX_AGE_SECONDS:
            return None
        return shelved.answers.get(question)

    def resolve(self, query: ResolveModel, key: Hashable, question: Hashable, make: Callable[[Resolution], AnswerT]) -> AnswerT:
        """Finds the most accurate model of a family that keeps every limit of a device, as of now.

        Args:
            query: What is asked.
            key: What the question calls its family, for `recall`.
            question: Everything else that is asked, for `recall`.
            make: Makes the answer.

        Raises:
            NotFound: ARCHITECTURE_NOT_FOUND, DATASET_NOT_FOUND, DEVICE_PROFILE_NOT_FOUND, or FAMILY_EMPTY if the family has no
                model.
            InvalidArgument: DATASET_UNKNOWN, DEVICE_PROFILE_UNKNOWN, BUDGET_EMPTY, LIMIT_INVALID or LIMIT_NEEDS_PROFILE.
            FailedPrecondition: NO_MODEL_FITS, see `secateur.core.catalog.Shelf.best`.
        """
        own = query.target.budget.resolve({}) if query.target.budget else None
        with self._store.snapshot() as work:
            profile = find_profile(query.target.device_profile, query.project, work)
            limits = merged(own, profile)
            if query.dataset.project != query.project:  # its own may be gone: models stay
                find_dataset(query.dataset, query.project, work)
            architecture = work.architectures.get(query.project, query.architecture)
            shelved = self._load(key, Family.of(query.project, architecture.digest, query.dataset), work)
            runtime = profile.runtime if profile else Runtime.TFLM
            with _nearest_by_name(query.project):
                found = shelved.shelves[runtime].best(limits, _predicted_ms(shelved, limits, profile, work))
            model = work.models.get(query.project, found.id)
        compliance = compliance_of(_candidate(model, runtime), limits, profile)
        answer = make(Resolution(model, model.report.device_file, compliance, found.fitting))
        if profile is None or not profile.project:  # a project may delete its profile and make another of that name
            with self._lock:
                _put(shelved.answers, question, answer, MAX_ANSWERS)
        return answer

    def refresh(self) -> None:
        """Drops the families that have changed. To be called at least every `STALE_SECONDS`."""
        started = self._clock()
        with self._lock:
            families = [shelved.family for shelved in self._shelved.values()]
        check_all = started - self._checked >= CHECK_SECONDS
        with self._store.snapshot() as work:
            versions = work.families.changed_since(work.now() - _OVERLAP)
            if check_all:
                versions |= work.families.versions(families)
        with self._lock:
            for key, shelved in list(self._shelved.items()):
                if versions.get(shelved.family, shelved.version) != shelved.version:
                    self._drop(key)
                elif check_all and shelved.family in versions:
                    shelved.checked = started
            self._refreshed = started
            if check_all:
                self._checked = started

    def _load(self, key: Hashable, family: Family, work: Snapshot) -> _Shelved[AnswerT]:
        started = self._clock()
        version = work.families.versions([family])[family]
        kept = self._shelved.get(key)
        if kept is not None and (kept.family, kept.version) == (family, version):
            kept.checked = started
            return kept
        shelves = {
            runtime: Shelf(work.families.offers(family, ram_measurement=ram)) for runtime, ram in _RAM_MEASUREMENTS.items()
        }
        shelved: _Shelved[AnswerT] = _Shelved(family, version, shelves, started)
        with self._lock:
            self._drop(key)
            models = len(shelves[Runtime.TFLM])
            if not models:  # whoever asks can make up as many of these as they like
                return shelved
            self._shelved[key] = shelved
            self._models += models
            while len(self._shelved) > MAX_FAMILIES or (self._models > MAX_MODELS and len(self._shelved) > 1):
                self._drop(next(iter(self._shelved)))
        return shelved

    def _drop(self, key: Hashable) -> None:
        shelved = self._shelved.pop(key, None)
        if shelved is not None:
            self._models -= len(shelved.shelves[Runtime.TFLM])


@contextmanager
def _nearest_by_name(project: str) -> Iterator[None]:
    try:
        yield
    except FailedPrecondition as error:
        error.metadata["nearest_model"] = names.model(project, error.metadata["nearest_model"])
        raise


def _predicted_ms(
    shelved: _Shelved[AnswerT], limits: Budget, profile: DeviceProfile | None, work: Snapshot
) -> Mapping[str, float] | None:
    if profile is None:
        return None
    if Resource.LATENCY_MS not in limits.asked():
        return {}
    if profile not in shelved.predicted_ms:
        layers = work.families.work(shelved.family)
        predicted = {model_id: predict_latency_ms(each, profile) for model_id, each in layers.items()}
        _put(shelved.predicted_ms, profile, predicted, MAX_PROFILES)
    return shelved.predicted_ms[profile]


def _put(kept: dict[_KeyT, _ValueT], key: _KeyT, value: _ValueT, most: int) -> None:
    while len(kept) >= most:
        kept.pop(next(iter(kept)), None)
    kept[key] = value


def _candidate(model: ModelRecord, runtime: Runtime) -> Candidate:
    """Returns what is known of a model. Its latency on the device is not: it follows from the profile that asks."""
    report = model.report
    assert report.plan is not None  # the store takes no model without its plan
    file = report.device_file
    figures: dict[Resource, Figure] = {
        resource: Figure(value, "counted from the layer graph")
        for resource, value in report.plan.cost.by_resource().items()
        if resource is not Resource.RAM_BYTES
    }
    figures[Resource.FLASH_BYTES] = Figure(file.size_bytes, f"bytes of the {file.format.value} file")
    figures[Resource.ACCURACY] = Figure(file.accuracy, f"{file.format.value} file on {file.test_images} test images")
    ram = measured(report, _RAM_MEASUREMENTS[runtime])
    if ram is not None:
        figures[Resource.RAM_BYTES] = Figure(ram.value, ram.method)
    return Candidate(figures, report.plan.cost.work)
