"""The model holdfast:data-manager:durable: a Viam service in front of the process's one `Manager`.

viam-server closes and makes this object anew at every change of its config; nothing is lost by that, since all
that runs belongs to the manager (see `holdfast.manager`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from grpclib import GRPCError, Status
from viam.proto.app.datasync import MimeType
from viam.proto.app.robot import ComponentConfig
from viam.proto.common import ResourceName
from viam.resource.base import ResourceBase
from viam.resource.registry import Registry, ResourceCreatorRegistration
from viam.resource.types import Model, ModelFamily

from holdfast import commands, config
from holdfast.base import mime_types
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.base.mime_types import extension_of
from holdfast.base.protobuf_values import plain
from holdfast.base.words import shortened
from holdfast.capture.client import GrpcioClient, UnaryClient
from holdfast.commands.syncing import start_sync
from holdfast.commands.uploading import upload_data
from holdfast.errors import (
    BusyError,
    CommandError,
    ConfigError,
    HoldfastError,
    NotConnectedError,
    NotReadyError,
    printable,
)
from holdfast.manager import Manager, Resources
from holdfast.status import status
from holdfast.sync.uploads.uploads import Labels

from .data_manager import DataManager
from .direct_client import DirectClient

_MOST_NAMED = 3
_MOST_ERROR_CHARS = 2000
"""What goes into the trailers of an answer, which clients limit to some KiB: beyond, they end the connection."""
_MIME_TYPES = {
    MimeType.MIME_TYPE_IMAGE_JPEG: mime_types.JPEG,
    MimeType.MIME_TYPE_IMAGE_PNG: mime_types.PNG,
    MimeType.MIME_TYPE_APPLICATION_PCD: mime_types.PCD,
    MimeType.MIME_TYPE_VIDEO_MP4: mime_types.MP4,
}
"""Of what is uploaded to datasets; as in the builtin, what is of no known type has none."""


class Process:
    """What lives as long as the process: the manager and the way to the machine's resources."""

    def __init__(self) -> None:
        self._parent: UnaryClient | None = None
        self._manager: Manager | None = None

    @property
    def manager(self) -> Manager:
        """The one manager; made at its first use, on the event loop."""
        if self._manager is None:
            self._manager = Manager(os.environ, FileSystem(), SystemClock())
        return self._manager

    def set_parent(self, address: str) -> None:
        """The machine's own socket, as it is said in `Ready`."""
        if self._parent is None:
            self._parent = GrpcioClient(address)

    def resources(self, dependencies: Mapping[ResourceName, ResourceBase | None]) -> Resources:
        """What the dependencies are and how they are called: by the parent's socket, or directly without one."""
        apis: dict[str, set[str]] = {}
        for name in dependencies:
            apis.setdefault(name.name, set()).add(f"{name.namespace}:{name.type}:{name.subtype}")
        objects = [resource for resource in dependencies.values() if resource is not None]
        client = DirectClient(objects) if objects or self._parent is None else self._parent
        return Resources({name: frozenset(found) for name, found in apis.items()}, client)

    async def end(self, *, in_a_hurry: bool = False) -> None:
        """Stops everything; all files are complete then. See `Manager.stop`."""
        if self._manager is not None:
            await self._manager.stop(in_a_hurry=in_a_hurry)
        if self._parent is not None:
            await self._parent.close()


PROCESS = Process()


class Durable(DataManager):
    """A data manager that keeps what it captures until the cloud has it."""

    MODEL: ClassVar[Model] = Model(ModelFamily("holdfast", "data-manager"), "durable")

    @classmethod
    def new(cls, request: ComponentConfig, dependencies: Mapping[ResourceName, ResourceBase | None]) -> Durable:
        """Takes over what runs and applies the difference. Returns in milliseconds."""
        service = cls(request.name)
        service.reconfigure(request, dependencies)
        return service

    @classmethod
    def validate_config(cls, request: ComponentConfig) -> tuple[Sequence[str], Sequence[str]]:
        """No required dependencies; everything that is captured or asked is optional. Raises ConfigError."""
        return [], config.parse(plain(request.attributes.fields), os.environ).dependencies

    def reconfigure(
        self, request: ComponentConfig, dependencies: Mapping[ResourceName, ResourceBase | None]
    ) -> None:
        """Builds the collectors from the dependencies that are there; unchanged ones go on untouched."""
        parsed = config.parse(plain(request.attributes.fields), os.environ)
        PROCESS.manager.apply(parsed, PROCESS.resources(dependencies))

    async def close(self) -> None:
        """Hands over to a successor, which comes within seconds unless the service is removed."""
        await PROCESS.manager.hand_over()

    async def sync(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> None:
        with _translated():
            job, report = await start_sync(PROCESS.manager)
            await job.wait(None)
            job.check()
        if report.failed.count or report.quarantined:
            raise _rpc_error(
                Status.ABORTED,
                f"{report.files} files delivered, {report.failed.count} failed and are tried again"
                f"{_some(report.failed.first)}, {report.quarantined} can't be delivered and are kept in failed/; "
                f"last error: {printable(report.last_error) or 'see the log'}",
            )

    async def upload_binary_data_to_datasets(
        self,
        binary_data: bytes,
        tags: Sequence[str],
        dataset_ids: Sequence[str],
        mime_type: MimeType.ValueType,
        *,
        extra: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        with _translated():
            labels = Labels(tuple(tags), tuple(dataset_ids))
            await upload_data(PROCESS.manager, binary_data, extension_of(_MIME_TYPES.get(mime_type, "")), labels)

    async def do_command(
        self, command: Mapping[str, Any], *, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, Any]:
        with _translated():
            return await commands.run_command(PROCESS.manager, command)

    async def get_status(self, *, timeout: float | None = None, **kwargs: Any) -> Mapping[str, Any]:
        return status(PROCESS.manager)


_STATUS = {
    CommandError: Status.INVALID_ARGUMENT,
    NotConnectedError: Status.UNAVAILABLE,
    NotReadyError: Status.FAILED_PRECONDITION,
    BusyError: Status.RESOURCE_EXHAUSTED,
}
"""Of errors by their type; all others, of a resource or a disk that does not do what was asked, are ABORTED."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except HoldfastError as error:
        raise _rpc_error(_STATUS.get(type(error), Status.ABORTED), str(error)) from error


def _rpc_error(status: Status, message: str) -> GRPCError:
    return GRPCError(status, shortened(message, _MOST_ERROR_CHARS))


def _some(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _MOST_NAMED else ""
    return f" ({', '.join(names[:_MOST_NAMED])}{more})" if names else ""


def validate(request: ComponentConfig) -> tuple[Sequence[str], Sequence[str]]:
    """`Durable.validate_config` with the error that viam-server shows as it is."""
    try:
        return Durable.validate_config(request)
    except ConfigError as error:
        raise _rpc_error(Status.INVALID_ARGUMENT, str(error)) from error


Registry.register_resource_creator(
    DataManager.API,
    Durable.MODEL,
    ResourceCreatorRegistration(Durable.new, validate),
)
