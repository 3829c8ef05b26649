"""Protobuf messages to values. Nothing here raises on what a newer service may send."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from secateur.client import values as v
from secateur.client.datasets import Augmentation, Dataset
from secateur.v1 import architecture_service_pb2 as architectures_pb
from secateur.v1 import dataset_service_pb2 as datasets_pb
from secateur.v1 import device_profile_service_pb2 as devices_pb
from secateur.v1 import model_service_pb2 as models_pb
from secateur.v1 import plan_service_pb2 as plans_pb
from secateur.v1 import resources_pb2 as resources_pb

_NumberT = TypeVar("_NumberT", bound=int)
_NumberInT = TypeVar("_NumberInT", bound=int, contravariant=True)


class _Enum(Protocol[_NumberInT]):
    """What protobuf generates for an enum."""

    def Name(self, number: _NumberInT) -> str: ...  # noqa: N802 -- protobuf's own name


def name_of(enum: _Enum[_NumberT], number: _NumberT, prefix: str) -> str:
    """Returns the name of an enum value without its prefix; empty if unset, "UNKNOWN(17)" if this SDK does not know it."""
    if number == 0:
        return ""
    try:
        return enum.Name(number).removeprefix(prefix)
    except ValueError:
        return f"UNKNOWN({number})"


def word_of(enum: _Enum[_NumberT], number: _NumberT, prefix: str) -> str:
    """Returns the same as `name_of`, in small letters."""
    name = name_of(enum, number, prefix)
    return name if name.startswith("UNKNOWN(") else name.lower()


def resource(number: resources_pb.Resource.ValueType) -> str:
    """Returns the name of a resource, for example "flash_bytes"."""
    return word_of(resources_pb.Resource, number, "RESOURCE_")


def artifact_format(number: models_pb.ArtifactFormat.ValueType) -> str:
    """Returns the name of a format as artifacts have it in their resource names, for example "litert-int8"."""
    return word_of(models_pb.ArtifactFormat, number, "ARTIFACT_FORMAT_").replace("_", "-")


def plan_mode(number: plans_pb.PlanMode.ValueType) -> str:
    """Returns the name of a planning mode, for example "device"."""
    return word_of(plans_pb.PlanMode, number, "PLAN_MODE_")


def criterion(number: plans_pb.Criterion.ValueType) -> str:
    """Returns the name of a criterion, for example "weight_l1"."""
    return word_of(plans_pb.Criterion, number, "CRITERION_")


def order(number: plans_pb.Order.ValueType) -> str:
    """Returns the name of an order, for example "layers_first"."""
    return word_of(plans_pb.Order, number, "ORDER_")


def residual(number: plans_pb.Residual.ValueType) -> str:
    """Returns what happens to residual groups, for example "skip"."""
    return word_of(plans_pb.Residual, number, "RESIDUAL_")


def time_of(message: Timestamp) -> datetime | None:
    """Returns a time; None if unset."""
    return message.ToDatetime(UTC) if message.ByteSize() else None


def cost(message: resources_pb.Cost) -> v.Cost:
    """Maps a cost."""
    return v.Cost(
        parameters=message.parameters,
        macs=message.macs,
        flops=message.flops,
        weight_bytes=message.weight_bytes,
        memory_bytes=message.memory_bytes,
        peak_activation_bytes=message.peak_activation_bytes,
        flash_bytes=message.flash_bytes,
        ram_bytes=message.ram_bytes,
        activation_bytes=message.activation_bytes,
        flash_float32_bytes=message.flash_float32_bytes,
        energy_paper_uj=message.energy_paper_uj,
        energy_horowitz_uj=message.energy_horowitz_uj,
    )


def compliance(message: resources_pb.Compliance) -> v.Compliance:
    """Maps how one limit came out."""
    return v.Compliance(
        resource=resource(message.resource),
        asked=message.asked,
        achieved=message.achieved,
        margin=message.margin,
        met=message.met,
        method=message.method,
        origin=message.origin,
    )


def limit(message: resources_pb.Limit) -> v.Limit:
    """Maps a limit."""
    return v.Limit(
        resource=resource(message.resource),
        value=message.value if message.HasField("value") else None,
        fraction=message.fraction if message.HasField("fraction") else None,
    )


def plan(message: plans_pb.Plan) -> v.Plan:
    """Maps a plan."""
    return v.Plan(
        digest=message.digest,
        seed=message.seed,
        mode=plan_mode(message.mode),
        widths=tuple(
            v.GroupWidth(width.group, width.width, width.unpruned_width, tuple(width.indices)) for width in message.widths
        ),
        cost=cost(message.cost),
        stock=message.stock,
        dropped_blocks=tuple(message.dropped_blocks),
    )


def target_quote(message: plans_pb.TargetQuote) -> v.TargetQuote:
    """Maps the quote of one target."""
    return v.TargetQuote(
        feasible=message.feasible,
        plan=plan(message.plan) if message.HasField("plan") else None,
        limits=tuple(
            v.LimitQuote(
                resource=resource(quote.resource),
                asked=quote.asked,
                unpruned=quote.unpruned,
                predicted=quote.predicted,
                smallest_reachable=quote.smallest_reachable,
                met=quote.met,
                origin=quote.origin,
            )
            for quote in message.limits
        ),
        binding_limit=resource(message.binding_limit),
        message=message.message,
        unchanged=message.unchanged,
    )


def quotes(message: plans_pb.QuoteResponse) -> v.Quotes:
    """Maps the answer to a quote."""
    return v.Quotes(
        targets=tuple(map(target_quote, message.quotes)),
        unpruned_cost=cost(message.unpruned_cost),
        curve=tuple(v.CurvePoint(point.width, cost(point.cost)) for point in message.curve),
    )


def architecture(message: architectures_pb.Architecture) -> v.Architecture:
    """Maps an architecture."""
    return v.Architecture(
        name=message.name,
        digest=message.digest,
        display_name=message.display_name,
        input_shape=tuple(message.input_shape),
        classes=message.classes,
        cost=cost(message.cost),
        layers=tuple(
            v.LayerSummary(
                name=layer.name,
                op=layer.op,
                output_shape=tuple(layer.output_shape),
                parameters=layer.parameters,
                macs=layer.macs,
                parameters_share=layer.parameters_share,
                flops_share=layer.flops_share,
                memory_share=layer.memory_share,
                group=layer.group,
            )
            for layer in message.layers
        ),
        groups=tuple(
            v.ChannelGroup(group.name, group.width, tuple(group.members), group.prunable, group.reason)
            for group in message.groups
        ),
        create_time=time_of(message.create_time),
    )


def augmentation(message: datasets_pb.Augmentation) -> Augmentation:
    """Maps what is done to training images."""
    return Augmentation(
        flip=message.flip if message.HasField("flip") else None,
        crop=message.crop if message.HasField("crop") else None,
        cutout=message.cutout if message.HasField("cutout") else None,
    )


def dataset(message: datasets_pb.Dataset) -> Dataset:
    """Returns a data set."""
    return Dataset(
        name=message.name,
        display_name=message.display_name,
        input_shape=tuple(message.input_shape),
        classes=message.classes,
        class_names=tuple(message.class_names),
        train_images=message.train_images,
        test_images=message.test_images,
        augmentation=augmentation(message.augmentation),
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        create_time=time_of(message.create_time) if message.HasField("create_time") else None,
        delete_time=time_of(message.delete_time),
        purge_time=time_of(message.purge_time),
    )


def device_profile(message: devices_pb.DeviceProfile) -> v.DeviceProfile:
    """Maps a device profile."""
    return v.DeviceProfile(
        name=message.name,
        display_name=message.display_name,
        clock_hz=message.clock_hz,
        flash_bytes=message.flash_bytes,
        ram_bytes=message.ram_bytes,
        usable_flash_bytes=message.usable_flash_bytes,
        usable_ram_bytes=message.usable_ram_bytes,
        macs_per_second=message.macs_per_second,
        bytes_per_second=message.bytes_per_second,
        seconds_per_operator=message.seconds_per_operator,
        runtime=name_of(devices_pb.Runtime, message.runtime, "RUNTIME_"),
        source=message.source,
    )


def artifact(message: models_pb.Artifact) -> v.Artifact:
    """Maps one file of a model."""
    return v.Artifact(
        name=message.name,
        format=artifact_format(message.format),
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        accuracy=message.accuracy,
        test_images=message.test_images,
    )


def _measurement(message: models_pb.Measurement) -> v.Measurement:
    return v.Measurement(
        name=message.name,
        value=message.value,
        unit=message.unit,
        method=message.method,
        machine=message.machine,
        format=artifact_format(message.format),
        samples=tuple(message.samples),
    )


def _operator_profile(message: models_pb.OperatorProfile) -> v.OperatorProfile:
    return v.OperatorProfile(
        format=artifact_format(message.format),
        method=message.method,
        machine=message.machine,
        operators=tuple(
            v.OperatorTime(each.operator, each.layer, tuple(each.output_shape), each.milliseconds) for each in message.operators
        ),
    )


def model(message: models_pb.Model) -> v.ModelSnapshot:
    """Maps a model."""
    return v.ModelSnapshot(
        name=message.name,
        job=message.job,
        target_index=message.target_index,
        architecture=message.architecture,
        dataset=message.dataset,
        device_profile=message.device_profile,
        plan=plan(message.plan),
        unpruned_cost=cost(message.unpruned_cost),
        artifacts=tuple(map(artifact, message.artifacts)),
        measurements=tuple(map(_measurement, message.measurements)),
        compliance=tuple(map(compliance, message.compliance)),
        create_time=time_of(message.create_time),
        met=message.met,
        operator_profiles=tuple(map(_operator_profile, message.operator_profiles)),
        delete_time=time_of(message.delete_time),
        purge_time=time_of(message.purge_time),
    )
