"""The client: one object per server and project."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self, Unpack

from secateur.client import _job_mapping, _mapping, _requests
from secateur.client._channel import Connection
from secateur.client._messages import made
from secateur.client._names import checked
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
from secateur.client.tls import Tls
from secateur.client.values import Quotes, Resolution
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import model_service_pb2 as models_pb
from secateur.v1 import plan_service_pb2 as plans_pb


class Client(Trash):
    """Talks to one Secateur server about one project.

    Every call takes at most `timeout` seconds, retries included, and raises a `SecateurError` when it fails for good.

    Args:
        address: Server, `host:port`. None for the environment variable SECATEUR_ADDRESS, or else 127.0.0.1:50551.
        project: Project id. None for the environment variable SECATEUR_PROJECT, or else "default".
        token: API token. None for the environment variable SECATEUR_TOKEN, or else none.
        tls: How to encrypt. None for what SECATEUR_CA_FILE, SECATEUR_CLIENT_CERTIFICATE_FILE and SECATEUR_CLIENT_KEY_FILE
            say, or else TLS with well-known authorities for every address that is not of this machine.
        insecure: Speak plain text, the token included, to any address. None for SECATEUR_CLIENT_INSECURE.
        timeout: Wall-clock bound of one call, in seconds; of a stream of bytes, the longest silence.
        retry: When to try again.

    Raises:
        UsageError: If address, project or token cannot be sent, a file of TLS cannot be used, or the timeout is no number of
            seconds.
    """

    def __init__(
        self,
        address: str | None = None,
        project: str | None = None,
        *,
        token: str | None = None,
        tls: Tls | None = None,
        insecure: bool | None = None,
        timeout: float = 60.0,
        retry: Retry | None = None,
    ) -> None:
        connection = Connection.of(address, token, tls, insecure)
        if project is None:
            project = os.environ.get("SECATEUR_PROJECT") or "default"
        super().__init__(
            Transport(connection, timeout, retry or Retry()), _requests.in_collection(checked(project, "project"), "projects")
        )

    @property
    def address(self) -> str:
        """Server, `host:port`."""
        return self._transport.address

    @property
    def project(self) -> str:
        """Project id."""
        return self._parent.removeprefix("projects/")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address} {self.project}>"

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
        priority: str | None = None,
        max_pending: timedelta | None = None,
        max_run: timedelta | None = None,
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
            priority: "low", "normal" or "high": who goes first; None for normal. Among equals the projects take turns.
            max_pending: How long it may wait for a worker before it ends EXPIRED; None for the service's own limit.
            max_run: How long one attempt may run before the job ends EXPIRED; None for the service's own limit.
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
            priority=priority,
            max_pending=max_pending,
            max_run=max_run,
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
        request = made(
            plans_pb.QuoteRequest,
            targets=_requests.target_messages(targets),
            policy=_requests.policy(**planning),
            seed=seed,
        )
        request.architecture = await self._stored(architecture, input_shape, classes)
        await self._complete_profiles(request.targets)
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
        request = await self._resolve_request(architecture, dataset, profile, budget, input_shape, classes)
        return self._resolution(await self._transport.unary(self._transport.models.ResolveModel, request))

    async def resolve_if_changed(
        self,
        etag: str,
        architecture: ArchitectureLike,
        dataset: str,
        profile: str | None = None,
        budget: Budget | None = None,
        *,
        input_shape: tuple[int, int, int] | None = None,
        classes: int | None = None,
    ) -> Resolution[Model] | None:
        """Returns the most accurate model that fits a device, or None if that is still what it was: a few bytes on the wire.

        Args:
            etag: `Resolution.etag` of the answer that the device has; empty if it has none.
            architecture: As for `resolve`, like all that follow.
            dataset: Data set of the family.
            profile: The device's profile; None for none.
            budget: The device's own limits; None for none.
            input_shape: Of a zoo name: shape of the input without the batch.
            classes: Of a zoo name: number of classes.

        Raises as `resolve` does.
        """
        request = await self._resolve_request(architecture, dataset, profile, budget, input_shape, classes)
        request.MergeFrom(made(models_pb.ResolveModelRequest, if_none_match=etag))
        response = await self._transport.unary(self._transport.models.ResolveModel, request)
        return None if response.not_modified else self._resolution(response)

    async def _resolve_request(
        self,
        architecture: ArchitectureLike,
        dataset: str,
        profile: str | None,
        budget: Budget | None,
        input_shape: tuple[int, int, int] | None,
        classes: int | None,
    ) -> models_pb.ResolveModelRequest:
        if profile is None and isinstance(budget, Target):
            profile = budget.profile
        if not profile and (budget is None or not budget.limits):
            raise UsageError("BUDGET_EMPTY", "A device needs a profile or a budget. Received: neither", field="budget")
        return made(
            models_pb.ResolveModelRequest,
            architecture=await self._stored(architecture, input_shape, classes),
            dataset=await self._datasets.complete(dataset),
            device_profile=await self._profiles.complete(profile or ""),
            budget=_requests.budget(budget) if budget is not None else None,
        )

    def _resolution(self, response: models_pb.ResolveModelResponse) -> Resolution[Model]:
        return Resolution(
            model=Model(self._transport, _mapping.model(response.model)),
            artifact=_mapping.artifact(response.artifact),
            compliance=tuple(map(_mapping.compliance, response.compliance)),
            fitting_models=response.fitting_models,
            etag=response.etag,
        )

    async def job(self, name: str) -> Job:
        """Returns a job by its resource name, or by its id in this project."""
        return await Job.get(self._transport, self._in_project(name, "jobs"))

    async def jobs(
        self,
        filter: str = "",  # noqa: A002 -- as in the API
        order_by: str = "",
        *,
        show_deleted: bool = False,
    ) -> AsyncGenerator[Job, None]:
        """Yields the project's jobs, page by page as needed.

        Args:
            filter: Which ones, for example 'state = RUNNING AND labels.site = "a"'; empty for all.
            order_by: What they are ordered by, for example 'end_time desc'; empty for the newest first.
            show_deleted: Whether deleted ones are among them.

        Raises:
            InvalidArgument: If the service cannot read one of them (FILTER_INVALID, ORDER_INVALID).
            SecateurError: If the call fails for good in any other way.
        """
        request = made(
            jobs_pb.ListJobsRequest, parent=self._parent, filter=filter, order_by=order_by, show_deleted=show_deleted
        )
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
        request = made(jobs_pb.ListSearchCandidatesRequest, parent=self._in_project(job, "jobs"), target_index=target_index)
        async for row in self._rows(self._transport.jobs.ListSearchCandidates, request, lambda page: page.candidates):
            yield _job_mapping.search_candidate(row)

    async def model(self, name: str) -> Model:
        """Returns a model by its resource name, or by its id in this project."""
        return await Model.get(self._transport, self._in_project(name, "models"))

    async def models(
        self,
        filter: str = "",  # noqa: A002 -- as in the API
        order_by: str = "",
        *,
        show_deleted: bool = False,
    ) -> AsyncGenerator[Model, None]:
        """Yields the project's models, page by page as needed.

        Args:
            filter: Which ones, for example 'accuracy >= 0.9 AND flash_bytes < 300000'; empty for all.
            order_by: What they are ordered by, for example 'accuracy desc'; empty for the newest first.
            show_deleted: Whether deleted ones are among them.

        Raises:
            InvalidArgument: If the service cannot read one of them (FILTER_INVALID, ORDER_INVALID).
            SecateurError: If the call fails for good in any other way.
        """
        request = made(
            models_pb.ListModelsRequest, parent=self._parent, filter=filter, order_by=order_by, show_deleted=show_deleted
        )
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
