"""Models and their files between proto and domain (model_service.proto)."""

from __future__ import annotations

import hashlib
from typing import Final

from secateur.core.reports import ArtifactFormat, ArtifactReport, Measurement, OperatorProfile
from secateur.server import names
from secateur.server.models.handlers import OpenArtifact, ReadArtifact
from secateur.server.models.resolver import Resolution, ResolveModel
from secateur.server.plans.handlers import AskedTarget
from secateur.server.plans.mapping import plan_to_proto, profile_from_proto
from secateur.server.vocabulary import budget_from_proto, compliance_to_proto, cost_to_proto, timestamp, word_to_proto
from secateur.store.records import ModelRecord, Page
from secateur.v1 import model_service_pb2

_ETAG_LENGTH: Final = 16


def model_to_proto(model: ModelRecord, *, brief: bool = False) -> model_service_pb2.Model:
    """Returns the message of a model; a `brief` one leaves out samples, profiles of operators and details of the plan."""
    report = model.report
    return model_service_pb2.Model(
        name=names.model(model.project, model.id),
        job=names.job(model.project, model.job_id),
        target_index=report.target_index,
        architecture=names.architecture(model.project, model.architecture),
        dataset=names.dataset(model.dataset),
        device_profile=names.device_profile(model.device_profile) if model.device_profile else "",
        plan=plan_to_proto(report.plan, brief=brief),
        unpruned_cost=cost_to_proto(report.unpruned_cost),
        artifacts=[_artifact_to_proto(model, artifact) for artifact in report.artifacts],
        measurements=[_measurement_to_proto(measurement, brief=brief) for measurement in report.measurements],
        compliance=compliance_to_proto(report.compliance),
        create_time=timestamp(model.create_time),
        met=report.met,
        operator_profiles=[] if brief else [_profile_to_proto(profile) for profile in report.operator_profiles],
        delete_time=timestamp(model.deletion.delete_time) if model.deletion else None,
        purge_time=timestamp(model.deletion.purge_time) if model.deletion else None,
    )


def page_to_proto(page: Page[ModelRecord]) -> model_service_pb2.ListModelsResponse:
    """Returns one page of models."""
    return model_service_pb2.ListModelsResponse(
        models=[model_to_proto(model, brief=True) for model in page.items], next_page_token=page.next_page_token
    )


def resolve_from_proto(request: model_service_pb2.ResolveModelRequest) -> ResolveModel:
    """Returns the query of a request.

    Raises:
        InvalidArgument: LIMIT_INVALID or LIMIT_DUPLICATE.
    """
    project, architecture = names.in_project(request.architecture, "architectures")
    target = AskedTarget(
        device_profile=profile_from_proto(request.device_profile),
        budget=budget_from_proto(request.budget) if request.HasField("budget") else None,
    )
    return ResolveModel(project=project, architecture=architecture, dataset=names.dataset_of(request.dataset), target=target)


def question_of(request: model_service_pb2.ResolveModelRequest) -> tuple[tuple[str, str], tuple[str, bytes]]:
    """Returns what the family is called in a request, and everything else that is asked."""
    family = request.architecture, request.dataset
    return family, (request.device_profile, request.budget.SerializeToString(deterministic=True))


def resolution_to_proto(resolution: Resolution) -> model_service_pb2.ResolveModelResponse:
    """Returns the response of a query."""
    response = model_service_pb2.ResolveModelResponse(
        model=model_to_proto(resolution.model),
        artifact=_artifact_to_proto(resolution.model, resolution.artifact),
        compliance=compliance_to_proto(resolution.compliance),
        fitting_models=resolution.fitting_models,
    )
    response.etag = hashlib.sha256(response.SerializeToString(deterministic=True)).hexdigest()[:_ETAG_LENGTH]
    return response


def unless_known(
    response: model_service_pb2.ResolveModelResponse, if_none_match: str
) -> model_service_pb2.ResolveModelResponse:
    """Returns a message of a few bytes in place of the response if the caller has that already."""
    if response.etag != if_none_match:
        return response
    return model_service_pb2.ResolveModelResponse(etag=response.etag, not_modified=True)


def read_from_proto(request: model_service_pb2.DownloadArtifactRequest) -> ReadArtifact:
    """Returns the query of a request."""
    project, model, artifact = names.parse(request.name, "projects", "models", "artifacts")
    return ReadArtifact(
        project=project,
        model=model,
        artifact=artifact,
        offset=request.read_offset,
        limit=request.read_limit,
        accept_url=request.accept_url,
    )


def header_to_proto(file: OpenArtifact) -> model_service_pb2.DownloadArtifactResponse:
    """Returns the first message of a download: length and digest of the whole file, where else it can be read, no bytes yet."""
    return model_service_pb2.DownloadArtifactResponse(
        size_bytes=file.artifact.size_bytes,
        sha256=file.artifact.sha256,
        url=file.url,
        expire_time=timestamp(file.expire_time),
    )


def _artifact_to_proto(model: ModelRecord, artifact: ArtifactReport) -> model_service_pb2.Artifact:
    return model_service_pb2.Artifact(
        name=names.artifact(model.project, model.id, artifact.format.value),
        format=_format_to_proto(artifact.format),
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        accuracy=artifact.accuracy,
        test_images=artifact.test_images,
    )


def _measurement_to_proto(measurement: Measurement, *, brief: bool) -> model_service_pb2.Measurement:
    return model_service_pb2.Measurement(
        name=measurement.name,
        value=measurement.value,
        unit=measurement.unit,
        method=measurement.method,
        machine=measurement.machine,
        format=_format_to_proto(measurement.format),
        samples=() if brief else measurement.samples,
    )


def _profile_to_proto(profile: OperatorProfile) -> model_service_pb2.OperatorProfile:
    return model_service_pb2.OperatorProfile(
        format=_format_to_proto(profile.format),
        method=profile.method,
        machine=profile.machine,
        operators=[
            model_service_pb2.OperatorTime(
                operator=each.operator, layer=each.layer, output_shape=each.output_shape, milliseconds=each.milliseconds
            )
            for each in profile.operators
        ],
    )


def _format_to_proto(artifact_format: ArtifactFormat | None) -> model_service_pb2.ArtifactFormat.ValueType:
    return word_to_proto(model_service_pb2.ArtifactFormat, artifact_format, "ARTIFACT_FORMAT_")
