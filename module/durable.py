"""`Durable` is the model holdfast:data-manager:durable, a Viam service in front of the process's one `Manager`.

viam-server closes this object and creates a new one at every change of its config. Nothing is lost by that, since
everything that runs belongs to the manager (see `holdfast.manager`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from grpclib import Status
from viam.proto.app.datasync import MimeType
from viam.proto.app.robot import ComponentConfig
from viam.proto.common import ResourceName
from viam.resource.base import ResourceBase
from viam.resource.registry import Registry, ResourceCreatorRegistration
from viam.resource.types import Model, ModelFamily

from holdfast import config
from holdfast.adoption import LOOK_S, Adoption, MachineFile
from holdfast.base import mime_types
from holdfast.base.attachment import Attachment
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.base.mime_types import extension_of
from holdfast.base.presentable import presentable
from holdfast.base.protobuf_values import plain
from holdfast.base.tasks import begin, in_thread, supervised
from holdfast.capture.client import GrpcioClient, UnaryClient
from holdfast.commands import run_command, start_sync, start_upload
from holdfast.config import Config
from holdfast.errors import ConfigError, HoldfastError, NotReadyError
from holdfast.manager import Manager, Resources
from holdfast.status import status
from holdfast.storage import relocation
from holdfast.storage.placement import placed
from holdfast.sync.uploads.uploads import Labels

from .data_manager import DataManager
from .direct_client import DirectClient
from .host import find_host
from .locating import locate, revision
from .off_loop import off_loop
from .rpc_errors import rpc_error
from .viam_server import find_viam_server

_MOST_NAMED = 3
_MIME_TYPES = {
    MimeType.MIME_TYPE_IMAGE_JPEG: mime_types.JPEG,
    MimeType.MIME_TYPE_IMAGE_PNG: mime_types.PNG,
    MimeType.MIME_TYPE_APPLICATION_PCD: mime_types.PCD,
    MimeType.MIME_TYPE_VIDEO_MP4: mime_types.MP4,
}
"""The types whose files get an extension when they are uploaded to datasets. As in the builtin, others get none."""


@dataclass(frozen=True)
class _Service:
    """What a service was made of."""

    request: ComponentConfig
    dependencies: Mapping[ResourceName, ResourceBase | None]
    config: Config
    read: object
    """What was read of components."""

    @property
    def adopts(self) -> bool:
        return self.config.adopt_component_settings


class Process:
    """Holds what lives as long as the process: the manager, and the connection to the machine's resources."""

    def __init__(self) -> None:
        self._viam_server = find_viam_server()
        self.host = find_host(self._viam_server)
        self._clock = SystemClock()
        self._adoption = Adoption(FileSystem(), self._clock, self._machine_file, self._revision)
        self._service: _Service | None = None
        """The service of now; None while there is none."""
        self._ended = False
        self._watching: asyncio.Task[None] | None = None
        self._problems: tuple[str, ...] | None = None
        self._parent: UnaryClient | None = None
        self._manager: Manager | None = None

    @property
    def manager(self) -> Manager:
        """The one manager. Its first use creates it, and has to be on the event loop."""
        if self._manager is None:
            self._manager = Manager(os.environ, FileSystem(), self._clock, self._adoption)
        return self._manager

    def set_parent(self, address: str) -> None:
        """Takes the address of the machine's own socket, which is in `Ready`. Later calls have no effect."""
        if self._parent is None:
            self._parent = GrpcioClient(address)

    def resources(self, dependencies: Mapping[ResourceName, ResourceBase | None]) -> Resources:
        """Returns what the dependencies are and how they are called.

        They are called over the parent's socket; or directly, when they are objects in this process or when there
        is no parent.
        """
        apis: dict[str, set[str]] = {}
        for name in dependencies:
            apis.setdefault(name.name, set()).add(f"{name.namespace}:{name.type}:{name.subtype}")
        objects = [resource for resource in dependencies.values() if resource is not None]
        client = DirectClient(objects) if objects or self._parent is None else self._parent
        return Resources({name: frozenset(found) for name, found in apis.items()}, client)

    async def move_out(self, request: ComponentConfig) -> None:
        """Moves what an earlier version kept inside the package to where the config says. See `relocation`.

        Only the first call with a valid config does anything, since nothing may be captured meanwhile. What could
        not be moved is a problem of each later config. When cancelled, it returns after the move.
        """
        if self._problems is not None:
            return
        try:
            folders = self.parse(request).former_folders
        except ConfigError:  # `Durable.new` raises it
            return
        self._problems, files = (), FileSystem()
        found = await in_thread(lambda: [relocation.move_out(files, folder) for folder in folders])
        self._problems = tuple(filter(None, found))

    async def adopt(self, request: ComponentConfig) -> None:
        """Reads the capture settings of components, for a `parse` that follows. Takes less than five seconds, and
        never raises."""
        attributes = plain(request.attributes.fields)
        if not config.adopts(attributes):
            return
        await self._adoption.look()
        if self._adoption.adopted.read_ns is None:
            with suppress(ConfigError):  # `Durable` raises it
                placed_alone = placed(FileSystem(), config.parse(attributes, self.host))
                await self._adoption.use_kept(placed_alone.capture_dir)

    def parse(self, request: ComponentConfig) -> Config:
        """Returns the config on this host, with the capture settings of components. Raises ConfigError."""
        parsed = config.parse(plain(request.attributes.fields), self.host, self._adoption.cards)
        adopted = self._adoption.findings if parsed.adopt_component_settings else ()
        return replace(parsed, problems=(*parsed.problems, *adopted, *(self._problems or ())))

    def apply(self, request: ComponentConfig, dependencies: Mapping[ResourceName, ResourceBase | None]) -> None:
        """Makes a service's config hold. Unchanged collectors keep running untouched. Raises ConfigError, and
        NotReadyError when the process ends."""
        if self._ended:
            raise NotReadyError("the module is ending")
        found = self.parse(request)
        self.manager.apply(found, self.resources(dependencies))
        self._service = _Service(request, dependencies, found, self._read_of_components)
        if self._watching is None:
            self._watching = begin(supervised("the watch over components' settings", self._watch), "holdfast-adopt")

    async def hand_over(self) -> None:
        """Waits for the next service, see `Manager.hand_over`."""
        self._service = None
        await self.manager.hand_over()

    @property
    def _read_of_components(self) -> object:
        return self._adoption.cards, self._adoption.findings

    async def _watch(self) -> None:
        """Looks at the capture settings of components, and applies a change that brings no new service."""
        while True:
            if self._service is not None and self._service.adopts:
                await self._keep(self._service.config)
            await self._clock.sleep(LOOK_S)
            if self._service is not None and self._service.adopts:
                await self._adoption.look_again()
            service = self._service  # it may be another one by now
            if service is not None and service.adopts and service.read != self._read_of_components:
                self.apply(service.request, service.dependencies)

    async def _keep(self, applied: Config) -> None:
        """Keeps the settings in the capture folder, if it is ours."""
        engine = self.manager.engine
        if engine is not None:
            await engine.store.tried()
            if engine.store.owned:
                brought = [f"{each.method} of {each.name}" for each in applied.methods if each.source != "service"]
                await self._adoption.keep(engine.store.capture_dir, brought)

    async def _machine_file(self) -> MachineFile:
        return await locate(self._parent, self._viam_server, os.environ)

    async def _revision(self) -> str:
        return await revision(self._parent)

    async def end(self, *, in_a_hurry: bool = False) -> None:
        """Stops everything; all files are complete when it returns. See `Manager.stop`."""
        self._service, self._ended = None, True
        self._adoption.stop()
        if self._watching is not None:
            self._watching.cancel()
        if self._manager is not None:
            await self._manager.stop(in_a_hurry=in_a_hurry)
        if self._parent is not None:
            await self._parent.close()


PROCESS = Process()


class Durable(DataManager):
    """A data manager that keeps what it captures until the cloud has it.

    The methods that answer RPCs raise errors of `holdfast.errors`, which the service translates.
    """

    MODEL: ClassVar[Model] = Model(ModelFamily("holdfast", "data-manager"), "durable")

    @classmethod
    def new(cls, request: ComponentConfig, dependencies: Mapping[ResourceName, ResourceBase | None]) -> Durable:
        """Creates the service, which takes over what runs and applies what differs. Returns within milliseconds."""
        service = cls(request.name)
        service.reconfigure(request, dependencies)
        return service

    @classmethod
    def validate_config(cls, request: ComponentConfig) -> tuple[Sequence[str], Sequence[str]]:
        """Returns no required dependencies, and as optional ones all resources that are captured or queried.

        Raises ConfigError.
        """
        return [], PROCESS.parse(request).dependencies

    def reconfigure(
        self, request: ComponentConfig, dependencies: Mapping[ResourceName, ResourceBase | None]
    ) -> None:
        """Creates the collectors whose dependencies are there. Unchanged collectors keep running untouched."""
        PROCESS.apply(request, dependencies)

    async def close(self) -> None:
        """Hands over to a successor, which viam-server creates within seconds unless it removed the service."""
        await PROCESS.hand_over()

    async def sync(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> None:
        job, report = await start_sync(PROCESS.manager)
        await job.wait(None)
        job.check()
        if report.failed.count or report.quarantined:
            raise HoldfastError(
                f"{report.files} files delivered, {report.failed.count} failed and are tried again"
                f"{_some(report.failed.first)}, {report.quarantined} can't be delivered and are kept in failed/; "
                f"last error: {report.last_error or 'see the log'}"
            )

    async def upload_binary_data_to_datasets(
        self,
        binary_data: bytes | Attachment,
        tags: Sequence[str],
        dataset_ids: Sequence[str],
        mime_type: MimeType.ValueType,
        *,
        extra: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        data = binary_data if isinstance(binary_data, Attachment) else Attachment(binary_data)
        extension = extension_of(_MIME_TYPES.get(mime_type, ""))
        job = await start_upload(PROCESS.manager, data, extension, Labels(tuple(tags), tuple(dataset_ids)))
        await job.wait(None)
        job.check()

    async def do_command(
        self, command: Mapping[str, Any], *, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, Any]:
        return await off_loop(presentable, await run_command(PROCESS.manager, command))

    async def get_status(self, *, timeout: float | None = None, **kwargs: Any) -> Mapping[str, Any]:
        return await off_loop(presentable, status(PROCESS.manager))


def _some(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _MOST_NAMED else ""
    return f" ({', '.join(names[:_MOST_NAMED])}{more})" if names else ""


def validate(request: ComponentConfig) -> tuple[Sequence[str], Sequence[str]]:
    """Calls `Durable.validate_config`. Raises its error as a GRPCError, whose text viam-server shows unchanged."""
    try:
        return Durable.validate_config(request)
    except ConfigError as error:
        raise rpc_error(Status.INVALID_ARGUMENT, str(error)) from error


Registry.register_resource_creator(
    DataManager.API,
    Durable.MODEL,
    ResourceCreatorRegistration(Durable.new, validate),
)
