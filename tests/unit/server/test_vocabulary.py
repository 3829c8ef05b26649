"""The words of the domain and those of the API are the same ones."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from secateur.core.devices import Runtime
from secateur.core.graph import Residual
from secateur.core.jobs import JobStage, JobState
from secateur.core.reports import ArtifactFormat
from secateur.core.resources import Budget, Limit, Resource
from secateur.core.specs import Criterion, Order, PlanMode
from secateur.server.vocabulary import budget_from_proto, budget_to_proto, resource_from_proto, resource_to_proto
from secateur.v1 import device_profile_service_pb2, job_service_pb2, model_service_pb2, plan_service_pb2, resources_pb2


@pytest.mark.parametrize(
    ("words", "messages", "prefix"),
    [
        (Resource, resources_pb2.Resource, "RESOURCE_"),
        (PlanMode, plan_service_pb2.PlanMode, "PLAN_MODE_"),
        (Residual, plan_service_pb2.Residual, "RESIDUAL_"),
        (Criterion, plan_service_pb2.Criterion, "CRITERION_"),
        (Order, plan_service_pb2.Order, "ORDER_"),
        (JobState, job_service_pb2.JobState, "JOB_STATE_"),
        (JobStage, job_service_pb2.JobStage, "JOB_STAGE_"),
        (ArtifactFormat, model_service_pb2.ArtifactFormat, "ARTIFACT_FORMAT_"),
        (Runtime, device_profile_service_pb2.Runtime, "RUNTIME_"),
    ],
)
def test_every_word_has_its_enum_value_and_every_value_its_word(words: type[StrEnum], messages: Any, prefix: str) -> None:
    assert {f"{prefix}{word.name}" for word in words} | {f"{prefix}UNSPECIFIED"} == set(messages.keys())


@pytest.mark.parametrize("resource", list(Resource))
def test_a_resource_survives_the_round_trip(resource: Resource) -> None:
    assert resource_from_proto(resource_to_proto(resource)) is resource


def test_a_budget_survives_the_round_trip() -> None:
    budget = Budget((Limit(Resource.MACS, fraction=0.5), Limit(Resource.FLASH_BYTES, value=65_536.0)))

    assert budget_from_proto(budget_to_proto(budget)) == budget
