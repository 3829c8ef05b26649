"""Deleting and undeleting."""

from __future__ import annotations

from secateur.client import _job_mapping, _mapping
from secateur.client.aio.catalogue import Catalogue
from secateur.client.aio.jobs import Job
from secateur.client.aio.models import Model
from secateur.client.datasets import Dataset
from secateur.v1 import dataset_service_pb2 as datasets_pb
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import model_service_pb2 as models_pb


class Trash(Catalogue):
    """The part of `Client` that deletes. What is deleted can be undeleted until its `purge_time`."""

    async def delete_job(self, name: str, *, allow_missing: bool = False) -> None:
        """Deletes a job that is done, by its resource name or its id. Its models stay.

        Args:
            name: The job.
            allow_missing: Accept that there is none, or that it was deleted before.

        Raises:
            NotFound: If there is none (JOB_NOT_FOUND), or it was deleted before.
            FailedPrecondition: If it is not done (JOB_NOT_FINISHED); cancel it first.
            SecateurError: If the call fails for good in any other way.
        """
        request = jobs_pb.DeleteJobRequest(name=self._in_project(name, "jobs"), allow_missing=allow_missing)
        await self._transport.settle(self._transport.jobs.DeleteJob, request, "JOB_NOT_FOUND")

    async def undelete_job(self, name: str) -> Job:
        """Undoes `delete_job`, and returns the job.

        Raises:
            NotFound: If there is none (JOB_NOT_FOUND), or it was purged.
            AlreadyExists: If it was not deleted (JOB_NOT_DELETED).
            SecateurError: If the call fails for good in any other way.
        """
        request = jobs_pb.UndeleteJobRequest(name=self._in_project(name, "jobs"))
        response = await self._transport.settle(self._transport.jobs.UndeleteJob, request, "JOB_NOT_DELETED")
        if response is None:
            return await Job.get(self._transport, request.name)
        return Job(self._transport, _job_mapping.job(response))

    async def delete_model(self, name: str, *, allow_missing: bool = False) -> None:
        """Deletes a model, by its resource name or its id. No device gets it any more.

        Args:
            name: The model.
            allow_missing: Accept that there is none, or that it was deleted before.

        Raises:
            NotFound: If there is none (MODEL_NOT_FOUND), or it was deleted before.
            SecateurError: If the call fails for good in any other way.
        """
        request = models_pb.DeleteModelRequest(name=self._in_project(name, "models"), allow_missing=allow_missing)
        await self._transport.settle(self._transport.models.DeleteModel, request, "MODEL_NOT_FOUND")

    async def undelete_model(self, name: str) -> Model:
        """Undoes `delete_model`, and returns the model.

        Raises:
            NotFound: If there is none (MODEL_NOT_FOUND), or it was purged.
            AlreadyExists: If it was not deleted (MODEL_NOT_DELETED).
            SecateurError: If the call fails for good in any other way.
        """
        request = models_pb.UndeleteModelRequest(name=self._in_project(name, "models"))
        response = await self._transport.settle(self._transport.models.UndeleteModel, request, "MODEL_NOT_DELETED")
        if response is None:
            return await Model.get(self._transport, request.name)
        return Model(self._transport, _mapping.model(response))

    async def delete_dataset(self, name: str, *, allow_missing: bool = False) -> None:
        """Deletes a data set of the project, by its resource name or its id. Models trained on it stay.

        Args:
            name: The data set.
            allow_missing: Accept that there is none, or that it was deleted before.

        Raises:
            NotFound: If there is none (DATASET_NOT_FOUND), or it was deleted before.
            FailedPrecondition: If a job that is not done trains on it (DATASET_IN_USE), or it is built in (DATASET_BUILT_IN).
            SecateurError: If the call fails for good in any other way.
        """
        request = datasets_pb.DeleteDatasetRequest(name=await self._datasets.complete(name), allow_missing=allow_missing)
        await self._transport.settle(self._transport.datasets.DeleteDataset, request, "DATASET_NOT_FOUND")

    async def undelete_dataset(self, name: str) -> Dataset:
        """Undoes `delete_dataset`, and returns the data set.

        Raises:
            NotFound: If there is none (DATASET_NOT_FOUND), or it was purged.
            AlreadyExists: If it was not deleted (DATASET_NOT_DELETED).
            SecateurError: If the call fails for good in any other way.
        """
        request = datasets_pb.UndeleteDatasetRequest(name=await self._datasets.complete(name))
        response = await self._transport.settle(self._transport.datasets.UndeleteDataset, request, "DATASET_NOT_DELETED")
        if response is None:
            return await self.dataset(request.name)
        return _mapping.dataset(response)
