"""The client: one object per server and project."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Self, Unpack

from secateur.client import _job_mapping, _mapping, _requests
from secateur.client._retry import Retry
from secateur.client._sources import ArchitectureLike
from secateur.client._transport import Transport
from secateur.client.aio.jobs import Job
from secateur.client.aio.models import Model
from secateur.client.aio.trash import Trash
from secateur.client.errors import UsageError
from secateur.client.jobs import SearchCandidate
from secateur.client.recipes import Recipe
from secateur.client.targets import Budget, Planning, Target
from secateur.client.values import Quotes, Resolution
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import model_service_pb2 as models_pb
from secateur.v1 import plan_service_pb2 as plans_pb


class Client(Trash):
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
        super().__init__(Transport(address, timeout, retry or Retry()), _requests.in_collection(project, "projects"))

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
        recipe: str | Recipe = "",
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
            dataset: Data set, built in or of this project, for example "digits".
            targets: One target, or up to 32.
            input_shape: Of a zoo name: shape of the input without the batch (height, width, channels).
            classes: Of a zoo name: number of classes.
            recipe: Training recipe: a name, such as "strong", or a `secateur.client.Recipe` that overrides some of its values;
                empty for the service's default. That of another job's snapshot trains as that job did.
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
            shorthands={"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate},
            seed=seed,
            display_name=display_name,
            labels=labels,
            planning=planning,
        )
        job.architecture = await self._stored(architecture, input_shape, classes)
        job.dataset = await self._datasets.complete(job.dataset)
        await self._complete_profiles(job.targets)
        request = jobs_pb.CreateJobRequest(
            parent=self._parent, job=job, request_id=str(uuid.uuid4()), validate_only=validate_only
        )
        return Job(self._transport, _job_mapping.job(await self._transport.unary(self._transport.jobs.CreateJob, request)))

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
        await self._complete_profiles(asked)
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
            dataset: Data set of the family, built in or of this project.
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
            dataset=await self._datasets.complete(dataset),
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

    async def jobs(self, *, show_deleted: bool = False) -> AsyncGenerator[Job, None]:
        """Yields the project's jobs, newest first, page by page as needed; with `show_deleted` also deleted ones."""
        request = jobs_pb.ListJobsRequest(parent=self._parent, show_deleted=show_deleted)
        async for row in self._rows(self._transport.jobs.ListJobs, request, lambda page: page.jobs):
            yield Job(self._transport, _job_mapping.job(row))

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
            yield _job_mapping.search_candidate(row)

    async def model(self, name: str) -> Model:
        """Returns a model by its resource name, or by its id in this project."""
        return await Model.get(self._transport, self._in_project(name, "models"))

    async def models(self, *, show_deleted: bool = False) -> AsyncGenerator[Model, None]:
        """Yields the project's models, newest first, page by page as needed; with `show_deleted` also deleted ones."""
        request = models_pb.ListModelsRequest(parent=self._parent, show_deleted=show_deleted)
        async for row in self._rows(self._transport.models.ListModels, request, lambda page: page.models):
            yield Model(self._transport, _mapping.model(row))

    async def close(self) -> None:
        """Closes the connection. Closing twice is fine."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
