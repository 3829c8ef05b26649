"""The client: one object per server and project."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar, Unpack

import grpc

from secateur.client import _mapping, _requests
from secateur.client._profiles import ProfileNames
from secateur.client._retry import Retry
from secateur.client._sources import ArchitectureLike, KerasJson, Stored, source_of
from secateur.client._transport import Transport
from secateur.client.aio.jobs import Job
from secateur.client.aio.models import Model
from secateur.client.errors import UsageError
from secateur.client.targets import Budget, Hardware, Planning, Target, Zoo
from secateur.client.values import Architecture, DeviceProfile, Quotes, Resolution, SearchCandidate
from secateur.v1 import architecture_service_pb2 as architectures_pb
from secateur.v1 import device_profile_service_pb2 as devices_pb
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import model_service_pb2 as models_pb
from secateur.v1 import plan_service_pb2 as plans_pb


class _PageRequest(Protocol):
    page_token: str


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


_PageRequestT = TypeVar("_PageRequestT", bound=_PageRequest)
_PageT = TypeVar("_PageT", bound=_Page)
_RowT = TypeVar("_RowT")


class Client:
    """Talks to one Secateur server about one project.

    Every call takes at most `timeout` seconds, retries included, and raises a `SecateurError` when it fails for good.

    Args:
        address: Server, `host:port`. None for the environment variable SECATEUR_ADDRESS, or else 127.0.0.1:50551.
        project: Project id.
        timeout: Wall-clock bound of one call, in seconds; of a stream of bytes, the longest silence.
        retry: When to try again.
    """

    def __init__(
        self, address: str | None = None, project: str = "default", *, timeout: float = 60.0, retry: Retry | None = None
    ) -> None:
        self._transport = Transport(address, timeout, retry or Retry())
        self._parent = _requests.in_collection(project, "projects")
        self._profiles = ProfileNames(self._transport, self._parent)

    @property
    def address(self) -> str:
        """Server, `host:port`."""
        return self._transport.address

    @property
    def project(self) -> str:
        """Project id."""
        return self._parent.removeprefix("projects/")

    async def submit(
        self,
        architecture: ArchitectureLike,
        *,
        dataset: str,
        targets: Target | Sequence[Target],
        input_shape: tuple[int, int, int] | None = None,
        classes: int | None = None,
        recipe: str = "",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        seed: int = 0,
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        validate_only: bool = False,
        **planning: Unpack[Planning],
    ) -> Job:
        """Submits a job: prune, train and measure one model per target. Returns at once.

        An architecture that the service does not have is uploaded first, also with `validate_only`. Equal work is done
        once: a job equal to one that is queued, running or succeeded *is* that job.

        Args:
            architecture: Zoo name (with `input_shape` and `classes`), `Zoo`, resource name, `Architecture`, Keras JSON as
                text or path of a `.json` file, or a live Keras model.
            dataset: Data set, for example "digits".
            targets: One target, or up to 32.
            input_shape: Of a zoo name: shape of the input without the batch (height, width, channels).
            classes: Of a zoo name: number of classes.
            recipe: Training recipe, for example "fast"; empty for the service's default.
            epochs: Passes over the training split; None for the recipe's own.
            batch_size: Images per step; None for the recipe's own.
            learning_rate: Peak learning rate; None for the recipe's own.
            seed: Seed of planner, initialisation, splits and shuffling.
            display_name: Name for people.
            labels: Labels.
            validate_only: Only check and answer; the job returned has no name.
            planning: How to plan: `mode`, `round_to` and the others of `secateur.client.Planning`.

        Raises:
            UsageError: If an argument makes no sense.
            InvalidArgument: If the service refuses an argument; `field` says which.
            Infeasible: If a target cannot be met; the message names the limit and the smallest value.
            SecateurError: If the call fails for good in any other way.
        """
        # What needs no server is checked first, so that a typo uploads nothing.
        job = _requests.job(
            dataset=dataset,
            targets=targets,
            recipe=recipe,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            display_name=display_name,
            labels=labels,
            planning=planning,
        )
        job.architecture = await self._stored(architecture, input_shape, classes)
        await self._profiles.complete_all(job.targets)
        request = jobs_pb.CreateJobRequest(
            parent=self._parent, job=job, request_id=str(uuid.uuid4()), validate_only=validate_only
        )
        return Job(self._transport, _mapping.job(await self._transport.unary(self._transport.jobs.CreateJob, request)))

    async def upload(
        self,
        architecture: ArchitectureLike,
        *,
        input_shape: tuple[int, int, int] | None = None,
        classes: int | None = None,
        display_name: str = "",
        validate_only: bool = False,
    ) -> Architecture:
        """Uploads an architecture, and returns it with its layers and channel groups. The same graph twice is one architecture.

        Args:
            architecture: As for `submit`. One that the service already has is only read.
            input_shape: Of a zoo name: shape of the input without the batch.
            classes: Of a zoo name: number of classes.
            display_name: Name for people.
            validate_only: Only check and answer; store nothing.

        Raises:
            UsageError: If it is no architecture.
            InvalidArgument: If the service refuses it; `field` names the layer where there is one.
            SecateurError: If the call fails for good in any other way.
        """
        source = source_of(architecture, input_shape=input_shape, classes=classes)
        if isinstance(source, Stored):
            return await self.architecture(source.name)
        return await self._upload(source, display_name=display_name, validate_only=validate_only)

    async def quote(
        self,
        architecture: ArchitectureLike,
        *,
        targets: Target | Sequence[Target],
        input_shape: tuple[int, int, int] | None = None,
        classes: int | None = None,
        seed: int = 0,
        **planning: Unpack[Planning],
    ) -> Quotes:
        """Plans every target without training: predicted cost, feasibility and the limit that binds.

        Arguments and errors are those of `submit`, but a target that cannot be met is an answer, not an error.

        Returns:
            One quote per target, in their order, and the budget curve of the architecture.
        """
        asked, policy = _requests.target_messages(targets), _requests.policy(**planning)
        name = await self._stored(architecture, input_shape, classes)
        await self._profiles.complete_all(asked)
        request = plans_pb.QuoteRequest(architecture=name, targets=asked, policy=policy, seed=seed)
        response = await self._transport.unary(self._transport.plans.Quote, request)
        return _mapping.quotes(response)

    async def resolve(
        self,
        architecture: ArchitectureLike,
        dataset: str,
        profile: str | None = None,
        budget: Budget | None = None,
        *,
        input_shape: tuple[int, int, int] | None = None,
        classes: int | None = None,
    ) -> Resolution[Model]:
        """Returns the most accurate model that fits a device.

        Args:
            architecture: Architecture of the family, as for `submit`.
            dataset: Data set of the family.
            profile: The device's profile, built in or of this project, whose limits count too; None for none.
            budget: The device's own limits, absolute; None for none. A `Target` brings its profile along.
            input_shape: Of a zoo name: shape of the input without the batch.
            classes: Of a zoo name: number of classes.

        Raises:
            UsageError: If neither a profile nor a budget is given.
            NotFound: If the family has no model (FAMILY_EMPTY).
            Infeasible: If no model fits (NO_MODEL_FITS); the message names the limit that binds.
            SecateurError: If the call fails for good in any other way.
        """
        if profile is None and isinstance(budget, Target):
            profile = budget.profile
        if not profile and (budget is None or not budget.limits):
            raise UsageError("BUDGET_EMPTY", "A device needs a profile or a budget. Received: neither", field="budget")
        request = models_pb.ResolveModelRequest(
            architecture=await self._stored(architecture, input_shape, classes),
            dataset=_requests.in_collection(dataset, "datasets"),
            device_profile=await self._profiles.complete(profile or ""),
            budget=_requests.budget(budget) if budget is not None else None,
        )
        response = await self._transport.unary(self._transport.models.ResolveModel, request)
        return Resolution(
            model=Model(self._transport, _mapping.model(response.model)),
            artifact=_mapping.artifact(response.artifact),
            compliance=tuple(map(_mapping.compliance, response.compliance)),
            fitting_models=response.fitting_models,
        )

    async def job(self, name: str) -> Job:
        """Returns a job by its resource name, or by its id in this project."""
        return await Job.get(self._transport, self._in_project(name, "jobs"))

    async def jobs(self) -> AsyncGenerator[Job, None]:
        """Yields the project's jobs, newest first, page by page as needed."""
        request = jobs_pb.ListJobsRequest(parent=self._parent)
        async for row in self._rows(self._transport.jobs.ListJobs, request, lambda page: page.jobs):
            yield Job(self._transport, _mapping.job(row))

    async def search_candidates(self, job: str, target_index: int = 0) -> AsyncGenerator[SearchCandidate, None]:
        """Yields what the search of a finished target looked at, best first, page by page as needed.

        Args:
            job: Resource name of the job, or its id in this project.
            target_index: Index into the job's targets.

        Raises:
            FailedPrecondition: If the target has not come to an end (TARGET_NOT_FINISHED), or the job did not search
                (NO_SEARCH).
            SecateurError: If the call fails for good in any other way.
        """
        request = jobs_pb.ListSearchCandidatesRequest(parent=self._in_project(job, "jobs"), target_index=target_index)
        async for row in self._rows(self._transport.jobs.ListSearchCandidates, request, lambda page: page.candidates):
            yield _mapping.search_candidate(row)

    async def model(self, name: str) -> Model:
        """Returns a model by its resource name, or by its id in this project."""
        return await Model.get(self._transport, self._in_project(name, "models"))

    async def models(self) -> AsyncGenerator[Model, None]:
        """Yields the project's models, newest first, page by page as needed."""
        request = models_pb.ListModelsRequest(parent=self._parent)
        async for row in self._rows(self._transport.models.ListModels, request, lambda page: page.models):
            yield Model(self._transport, _mapping.model(row))

    async def architecture(self, name: str) -> Architecture:
        """Returns an architecture, with layers and channel groups, by its resource name or by its id in this project."""
        request = architectures_pb.GetArchitectureRequest(name=self._in_project(name, "architectures"))
        return _mapping.architecture(await self._transport.unary(self._transport.architectures.GetArchitecture, request))

    async def architectures(self) -> AsyncGenerator[Architecture, None]:
        """Yields the project's architectures, newest first, without layers and groups, page by page as needed."""
        request = architectures_pb.ListArchitecturesRequest(parent=self._parent)
        async for row in self._rows(self._transport.architectures.ListArchitectures, request, lambda page: page.architectures):
            yield _mapping.architecture(row)

    async def device_profiles(self) -> AsyncGenerator[DeviceProfile, None]:
        """Yields the device profiles by name, the built-in ones and then the project's own, page by page as needed."""
        request = devices_pb.ListDeviceProfilesRequest(parent=self._parent)
        async for row in self._rows(
            self._transport.device_profiles.ListDeviceProfiles, request, lambda page: page.device_profiles
        ):
            yield _mapping.device_profile(row)

    async def device_profile(self, name: str) -> DeviceProfile:
        """Returns a device profile by its resource name, or by its id: built in, or else of this project."""
        request = devices_pb.GetDeviceProfileRequest(name=await self._profiles.complete(name))
        return _mapping.device_profile(await self._transport.unary(self._transport.device_profiles.GetDeviceProfile, request))

    async def add_device_profile(
        self, profile_id: str, *, validate_only: bool = False, **hardware: Unpack[Hardware]
    ) -> DeviceProfile:
        """Adds a device profile to the project. It never changes; delete it to give its id to another.

        Args:
            profile_id: Its id: small letters, digits and hyphens, and not that of a built-in one.
            validate_only: Only check and answer; add nothing.
            hardware: What the device is like: `flash`, `ram` and the others of `secateur.client.Hardware`.

        Raises:
            UsageError: If a figure cannot be read.
            InvalidArgument: If the service refuses a figure; `field` says which.
            AlreadyExists: If the project or the built-in profiles have one of that id (DEVICE_PROFILE_EXISTS).
            ResourceExhausted: If the project has as many as it may have (DEVICE_PROFILE_QUOTA).
            SecateurError: If the call fails for good in any other way.
        """
        request = devices_pb.CreateDeviceProfileRequest(
            parent=self._parent,
            device_profile_id=profile_id,
            device_profile=_requests.device_profile(**hardware),
            request_id=str(uuid.uuid4()),
            validate_only=validate_only,
        )
        return _mapping.device_profile(
            await self._transport.unary(self._transport.device_profiles.CreateDeviceProfile, request)
        )

    async def delete_device_profile(self, name: str) -> None:
        """Deletes a device profile of the project, by its resource name or its id. Jobs and models made for it stay.

        Raises:
            NotFound: If the project has none of that name (DEVICE_PROFILE_NOT_FOUND).
            FailedPrecondition: If it is built in (DEVICE_PROFILE_BUILT_IN).
            SecateurError: If the call fails for good in any other way.
        """
        request = devices_pb.DeleteDeviceProfileRequest(name=await self._profiles.complete(name))
        await self._transport.unary(self._transport.device_profiles.DeleteDeviceProfile, request)

    async def close(self) -> None:
        """Closes the connection. Closing twice is fine."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _in_project(self, name: str, collection: str) -> str:
        return name if "/" in name else f"{self._parent}/{collection}/{name}"

    async def _stored(
        self, architecture: ArchitectureLike, input_shape: tuple[int, int, int] | None, classes: int | None
    ) -> str:
        """Returns the resource name of an architecture, uploading it unless the service has it."""
        source = source_of(architecture, input_shape=input_shape, classes=classes)
        if isinstance(source, Stored):
            return source.name
        return (await self._upload(source)).name

    async def _upload(self, source: Zoo | KerasJson, display_name: str = "", validate_only: bool = False) -> Architecture:
        messages = list(_requests.upload(source, parent=self._parent, display_name=display_name, validate_only=validate_only))
        return _mapping.architecture(
            await self._transport.call(
                lambda timeout: self._transport.architectures.UploadArchitecture(iter(messages), timeout=timeout)
            )
        )

    async def _rows(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_PageRequestT, _PageT],
        request: _PageRequestT,
        rows: Callable[[_PageT], Iterable[_RowT]],
    ) -> AsyncGenerator[_RowT, None]:
        while True:
            page = await self._transport.unary(method, request)
            for row in rows(page):
                yield row
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
