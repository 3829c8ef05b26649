"""Architectures between proto and domain (architecture_service.proto)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from secateur.core.cost import LayerShare
from secateur.core.graph import ChannelGroup, Layer
from secateur.server import names
from secateur.server.architectures.handlers import ArchitectureDetails, KerasJsonSource, Upload, ZooSource
from secateur.server.vocabulary import cost_to_proto, timestamp
from secateur.store.records import ArchitectureRecord, Page
from secateur.v1 import architecture_service_pb2

_NO_SHARE: Final = LayerShare(parameters=0.0, flops=0.0, memory=0.0)
"""Share of a layer that cannot be pruned."""


async def parts_from_proto(
    requests: AsyncIterator[architecture_service_pb2.UploadArchitectureRequest],
) -> AsyncIterator[Upload | bytes]:
    """Yields what each message of an upload carries."""
    async for request in requests:
        yield _upload_from_proto(request.spec) if request.HasField("spec") else request.chunk


def details_to_proto(details: ArchitectureDetails) -> architecture_service_pb2.Architecture:
    """Returns the message of an architecture with its layers and groups."""
    message = summary_to_proto(details.record)
    group_of = {member: group.name for group in details.groups for member in group.members}
    message.layers.extend(_layer_to_proto(layer, details, group_of.get(layer.name, "")) for layer in details.record.graph)
    message.groups.extend(_group_to_proto(group) for group in details.groups)
    return message


def summary_to_proto(record: ArchitectureRecord) -> architecture_service_pb2.Architecture:
    """Returns the message of an architecture without layers and groups."""
    return architecture_service_pb2.Architecture(
        name=names.architecture(record.project, record.digest),
        digest=record.digest,
        display_name=record.display_name,
        input_shape=record.graph.input_shape,
        classes=record.graph.classes,
        cost=cost_to_proto(record.cost),
        create_time=timestamp(record.create_time),
    )


def page_to_proto(page: Page[ArchitectureRecord]) -> architecture_service_pb2.ListArchitecturesResponse:
    """Returns one page of architectures."""
    return architecture_service_pb2.ListArchitecturesResponse(
        architectures=[summary_to_proto(record) for record in page.items], next_page_token=page.next_page_token
    )


def _upload_from_proto(spec: architecture_service_pb2.ArchitectureSpec) -> Upload:
    source: ZooSource | KerasJsonSource
    if spec.HasField("zoo"):
        height, width, channels = spec.zoo.input_shape
        source = ZooSource(spec.zoo.name, (height, width, channels), spec.zoo.classes)
    else:
        source = KerasJsonSource(spec.keras_json.size_bytes, spec.keras_json.sha256)
    return Upload(names.project_of(spec.parent), spec.display_name, source, spec.validate_only)


def _layer_to_proto(layer: Layer, details: ArchitectureDetails, group: str) -> architecture_service_pb2.LayerSummary:
    cost = details.layer_costs[layer.name]
    share = details.shares.get(layer.name, _NO_SHARE)
    return architecture_service_pb2.LayerSummary(
        name=layer.name,
        op=layer.op,
        output_shape=layer.output_shape,
        parameters=cost.parameters,
        macs=cost.macs,
        parameters_share=share.parameters,
        flops_share=share.flops,
        memory_share=share.memory,
        group=group,
    )


def _group_to_proto(group: ChannelGroup) -> architecture_service_pb2.ChannelGroup:
    return architecture_service_pb2.ChannelGroup(
        name=group.name, width=group.width, members=group.members, prunable=group.prunable, reason=group.reason
    )
