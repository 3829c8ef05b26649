"""The SDK for ordinary code: `secateur.client.aio`, blocking. Arguments, results and errors are the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from types import TracebackType
from typing import Self

from secateur.client import aio
from secateur.client._blocking import Facade, LoopThread, blocking, iterating, same, telling
from secateur.client._retry import Retry
from secateur.client._views import JobView, ModelView
from secateur.client.jobs import JobEvent, JobSnapshot
from secateur.client.tls import Tls
from secateur.client.values import ModelSnapshot, Resolution


class Model(Facade[aio.Model], ModelView):
    """A trained network. `Client` and `Job` make these."""

    download = blocking(aio.Model.download, same)

    @property
    def snapshot(self) -> ModelSnapshot:
        """Everything that is known of the model."""
        return self._inner.snapshot


def _models(thread: LoopThread, models: list[aio.Model]) -> list[Model]:
    return [Model(thread, model) for model in models]


class Job(Facade[aio.Job], JobView):
    """A job. `Client` makes these.

    The properties are what was last read; `refresh` and `wait` read again. As with `concurrent.futures`, `wait` only waits
    and `result` raises what went wrong. Ctrl+C while waiting stops the waiting, not the job; `cancel` stops the job.
    """

    watch = iterating(aio.Job.watch, same)
    result = blocking(aio.Job.result, _models)
    models = blocking(aio.Job.models, _models)

    @property
    def snapshot(self) -> JobSnapshot:
        """Everything that is known of the job."""
        return self._inner.snapshot

    def refresh(self) -> Job:
        """Reads the job again, and returns it."""
        self._thread.run(self._inner.refresh)
        return self

    def cancel(self, *, if_unchanged: bool = False) -> Job:
        """Asks the service to end the job CANCELLED, and returns it. A job that is done stays as it is.

        Args:
            if_unchanged: Only if the job is still as it was last read.

        Raises:
            Aborted: If it is not (ETAG_MISMATCH).
            SecateurError: If the call fails for good in any other way.
        """
        self._thread.run(lambda: self._inner.cancel(if_unchanged=if_unchanged))
        return self

    def retry(self) -> Job:
        """Has the work of a job that is FAILED, CANCELLED or EXPIRED done again, and returns the new job.

        Raises:
            FailedPrecondition: If the job is in another state (JOB_NOT_RETRYABLE).
            SecateurError: If the call fails for good in any other way.
        """
        return Job(self._thread, self._thread.run(self._inner.retry))

    def wait(self, timeout: float | None = None, on_event: Callable[[JobEvent], object] | None = None) -> Job:
        """Waits until the job is done, good or bad.

        Args:
            timeout: How long to wait, in seconds; None for as long as it takes.
            on_event: Called with every event of the job that comes in time, past ones first, in the thread that waits.

        Returns:
            The job itself, read again; `state` tells how it ended.

        Raises:
            WaitTimeout: If the job is not done in time. It goes on.
            SecateurError: If the service fails for good.
        """
        if on_event is not None:
            with closing(self.watch(timeout=timeout)) as events:
                for event in events:
                    on_event(event)
            self.refresh()
        else:
            self._thread.run(lambda: self._inner.wait(timeout))
        return self


def _resolution(thread: LoopThread, resolution: Resolution[aio.Model]) -> Resolution[Model]:
    return Resolution(
        Model(thread, resolution.model),
        resolution.artifact,
        resolution.compliance,
        resolution.fitting_models,
        resolution.etag,
    )


def _resolution_if_any(thread: LoopThread, resolution: Resolution[aio.Model] | None) -> Resolution[Model] | None:
    return None if resolution is None else _resolution(thread, resolution)


class Client(Facade[aio.Client]):
    """Talks to one Secateur server about one project, from any thread.

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
        client = aio.Client(address, project, token=token, tls=tls, insecure=insecure, timeout=timeout, retry=retry)
        super().__init__(LoopThread(), client)

    @property
    def address(self) -> str:
        """Server, `host:port`."""
        return self._inner.address

    @property
    def project(self) -> str:
        """Project id."""
        return self._inner.project

    def __repr__(self) -> str:
        return repr(self._inner)

    submit = blocking(aio.Client.submit, Job)
    upload = blocking(aio.Client.upload, same)
    quote = blocking(aio.Client.quote, same)
    resolve = blocking(aio.Client.resolve, _resolution)
    resolve_if_changed = blocking(aio.Client.resolve_if_changed, _resolution_if_any)
    job = blocking(aio.Client.job, Job)
    jobs = iterating(aio.Client.jobs, Job)
    search_candidates = iterating(aio.Client.search_candidates, same)
    model = blocking(aio.Client.model, Model)
    models = iterating(aio.Client.models, Model)
    architecture = blocking(aio.Client.architecture, same)
    architectures = iterating(aio.Client.architectures, same)
    dataset = blocking(aio.Client.dataset, same)
    datasets = iterating(aio.Client.datasets, same)
    upload_dataset = telling(aio.Client.upload_dataset)
    device_profile = blocking(aio.Client.device_profile, same)
    device_profiles = iterating(aio.Client.device_profiles, same)
    add_device_profile = blocking(aio.Client.add_device_profile, same)
    delete_device_profile = blocking(aio.Client.delete_device_profile, same)
    delete_job = blocking(aio.Client.delete_job, same)
    undelete_job = blocking(aio.Client.undelete_job, Job)
    delete_model = blocking(aio.Client.delete_model, same)
    undelete_model = blocking(aio.Client.undelete_model, Model)
    delete_dataset = blocking(aio.Client.delete_dataset, same)
    undelete_dataset = blocking(aio.Client.undelete_dataset, same)

    def close(self) -> None:
        """Closes the connection; calls of other threads that still wait are cancelled. Closing twice is fine."""
        self._thread.close(self._inner.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()
