"""Data sets between proto and domain (dataset_service.proto)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from secateur.core.specs import Augmentation
from secateur.server import names
from secateur.server.datasets.handlers import ListDatasets, Shown
from secateur.server.datasets.intake import Upload
from secateur.server.vocabulary import timestamp
from secateur.store.records import Page
from secateur.v1 import dataset_service_pb2


async def parts_from_proto(
    requests: AsyncIterator[dataset_service_pb2.UploadDatasetRequest | memoryview],
) -> AsyncIterator[Upload | memoryview]:
    """Yields what each message of an upload carries."""
    async for request in requests:
        if isinstance(request, memoryview):
            yield request
        else:
            yield _upload_from_proto(request.spec) if request.HasField("spec") else memoryview(request.chunk)


def list_from_proto(request: dataset_service_pb2.ListDatasetsRequest) -> ListDatasets:
    """Returns the query of a request."""
    project = names.project_of(request.parent) if request.parent else ""
    return ListDatasets(project, request.page_size, request.page_token, request.show_deleted)


def page_to_proto(page: Page[Shown]) -> dataset_service_pb2.ListDatasetsResponse:
    """Returns one page of data sets."""
    return dataset_service_pb2.ListDatasetsResponse(
        datasets=[dataset_to_proto(shown) for shown in page.items], next_page_token=page.next_page_token
    )


def dataset_to_proto(shown: Shown) -> dataset_service_pb2.Dataset:
    """Returns the message of a data set."""
    dataset, record = shown.dataset, shown.record
    return dataset_service_pb2.Dataset(
        name=names.dataset(shown.name),
        display_name=dataset.title,
        input_shape=dataset.input_shape,
        classes=dataset.classes,
        class_names=dataset.class_names,
        train_images=dataset.train_images,
        test_images=dataset.test_images,
        augmentation=dataset_service_pb2.Augmentation(
            flip=dataset.augmentation.flip, crop=dataset.augmentation.crop, cutout=dataset.augmentation.cutout
        ),
        size_bytes=record.size_bytes if record else 0,
        sha256=record.digest if record else "",
        create_time=timestamp(record.create_time) if record else None,
        delete_time=timestamp(record.deletion.delete_time) if record and record.deletion else None,
        purge_time=timestamp(record.deletion.purge_time) if record and record.deletion else None,
    )


def _upload_from_proto(spec: dataset_service_pb2.DatasetSpec) -> Upload:
    asked = spec.augmentation
    return Upload(
        project=names.project_of(spec.parent),
        id=spec.dataset_id,
        title=spec.display_name or spec.dataset_id,
        size_bytes=spec.size_bytes,
        sha256=spec.sha256,
        write_offset=spec.write_offset,
        class_names=tuple(spec.class_names),
        augmentation=Augmentation(flip=asked.flip, crop=asked.crop, cutout=asked.cutout),
        validate_only=spec.validate_only,
    )
