"""What jobs are made from: architectures, data sets and device profiles."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar, Unpack

import grpc

from secateur.client import _mapping, _requests
from secateur.client._messages import made
from secateur.client._names import ShortNames, checked
from secateur.client._packing import packed
from secateur.client._sources import ArchitectureLike, KerasJson, Stored, source_of
from secateur.client._transport import Transport
from secateur.client._upload import upload_file
from secateur.client.datasets import Dataset
from secateur.client.targets import Hardware, Zoo
from secateur.client.values import Architecture, DeviceProfile
from secateur.v1 import architecture_service_pb2 as architectures_pb
from secateur.v1 import dataset_service_pb2 as datasets_pb
from secateur.v1 import device_profile_service_pb2 as devices_pb
from secateur.v1 import plan_service_pb2 as plans_pb


class _PageRequest(Protocol):
    page_token: str


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


_PageRequestT = TypeVar("_PageRequestT", bound=_PageRequest)
_PageT = TypeVar("_PageT", bound=_Page)
_RowT = TypeVar("_RowT")
_ValueT = TypeVar("_ValueT")

_MOST_ROWS: Final = 200
"""Rows of the longest page that the service gives."""


class Catalogue:
    """The part of `Client` that keeps what jobs are made from.

    Args:
        transport: Transport to the service.
        parent: Resource name of the project.
    """

    def __init__(self, transport: Transport, parent: str) -> None:
        self._transport = transport
        self._parent = parent
        self._profiles = ShortNames(parent, "deviceProfiles", self._built_in_profiles)
        self._datasets = ShortNames(parent, "datasets", self._built_in_datasets)

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

    async def architecture(self, name: str) -> Architecture:
        """Returns an architecture, with layers and channel groups, by its resource name or by its id in this project."""
        request = architectures_pb.GetArchitectureRequest(name=self._in_project(name, "architectures"))
        return _mapping.architecture(await self._transport.unary(self._transport.architectures.GetArchitecture, request))

    async def architectures(self) -> AsyncGenerator[Architecture, None]:
        """Yields the project's architectures, newest first, without layers and groups, page by page as needed."""
        request = architectures_pb.ListArchitecturesRequest(parent=self._parent)
        async for row in self._rows(self._transport.architectures.ListArchitectures, request, lambda page: page.architectures):
            yield _mapping.architecture(row)

    async def datasets(self, *, show_deleted: bool = False) -> AsyncGenerator[Dataset, None]:
        """Yields the data sets by name, the built-in ones and then the project's own, page by page as needed.

        Args:
            show_deleted: Yield those that were deleted too.
        """
        request = datasets_pb.ListDatasetsRequest(parent=self._parent, show_deleted=show_deleted)
        async for row in self._rows(self._transport.datasets.ListDatasets, request, lambda page: page.datasets):
            yield _mapping.dataset(row)

    async def dataset(self, name: str) -> Dataset:
        """Returns a data set by its resource name, or by its id: built in, or else of this project."""
        request = datasets_pb.GetDatasetRequest(name=await self._datasets.complete(name))
        return _mapping.dataset(await self._transport.unary(self._transport.datasets.GetDataset, request))

    async def upload_dataset(
        self,
        dataset_id: str,
        path: str | os.PathLike[str],
        *,
        display_name: str = "",
        class_names: Sequence[str] = (),
        flip: bool = False,
        crop: int = 0,
        cutout: int = 0,
        validate_only: bool = False,
        on_progress: Callable[[int, int], object] = lambda _sent, _size: None,
    ) -> Dataset:
        """Uploads a data set to the project. It never changes. The same again, under the same id, is the one that is there.

        An upload that breaks off goes on where it was, also when this is called again within a week. The service checks every
        array and says which row is wrong; without a test part it draws a fifth of the images, the same for every job.

        Args:
            dataset_id: Its id: small letters, digits, hyphens and underscores, and not that of a built-in one.
            path: An `.npz` with uint8 images x_train, labels y_train and, if there are any, x_test, y_test; or a folder of
                images of one size, `[train/|test/]class/*.png|jpg`, which takes the extra `secateur-client[data]`.
            display_name: Name for people; the id by default.
            class_names: Name of every class, in the order of the labels; of a folder, the names of its folders by default.
            flip: Whether training images may be mirrored, left to right.
            crop: By how many pixels they may be shifted.
            cutout: Side of the square that may be blanked in them, in pixels.
            validate_only: Only check and answer; register nothing.
            on_progress: Called with the bytes sent so far and the bytes of the file; by a blocking client in the thread that
                waits. More is sent once it has returned. What it raises ends the upload, and comes out.

        Raises:
            UsageError: If the path holds no data set; the message names the file. If `crop` or `cutout` leaves nothing of an
                image.
            InvalidArgument: If the service refuses the file; the message names the array and the row.
            AlreadyExists: If the id is taken (DATASET_EXISTS).
            SecateurError: If the call fails for good in any other way.
        """
        async with _in_thread(packed(Path(path))) as file:
            spec = made(
                datasets_pb.DatasetSpec,
                parent=self._parent,
                dataset_id=dataset_id,
                display_name=display_name,
                class_names=class_names or file.class_names,
                augmentation=made(datasets_pb.Augmentation, flip=flip, crop=crop, cutout=cutout),
                validate_only=validate_only,
            )
            file.check_augmentation(crop=spec.augmentation.crop, cutout=spec.augmentation.cutout)
            return _mapping.dataset(await upload_file(self._transport, spec, file.path, on_progress))

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
        request = made(
            devices_pb.CreateDeviceProfileRequest,
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
        service = self._transport.device_profiles
        await self._transport.settle(service.DeleteDeviceProfile, request, "DEVICE_PROFILE_NOT_FOUND")

    async def _built_in_profiles(self) -> AsyncGenerator[str, None]:
        request = devices_pb.ListDeviceProfilesRequest(page_size=_MOST_ROWS)
        async for row in self._rows(
            self._transport.device_profiles.ListDeviceProfiles, request, lambda page: page.device_profiles
        ):
            yield row.name

    async def _built_in_datasets(self) -> AsyncGenerator[str, None]:
        request = datasets_pb.ListDatasetsRequest(page_size=_MOST_ROWS)
        async for row in self._rows(self._transport.datasets.ListDatasets, request, lambda page: page.datasets):
            yield row.name

    async def _complete_profiles(self, targets: Iterable[plans_pb.Target]) -> None:
        for target in targets:
            target.device_profile = await self._profiles.complete(target.device_profile)

    def _in_project(self, name: str, collection: str) -> str:
        return name if "/" in checked(name) else f"{self._parent}/{collection}/{name}"

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


@asynccontextmanager
async def _in_thread(context: AbstractContextManager[_ValueT]) -> AsyncGenerator[_ValueT, None]:
    """Enters and leaves a context that takes its time, without keeping the event loop from its work."""
    value = await asyncio.to_thread(context.__enter__)
    try:
        yield value
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
