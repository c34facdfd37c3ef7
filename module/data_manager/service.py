"""`DataManagerRPCService` serves a data manager over gRPC.

Requests are read within bounds, and decoded and encoded beside the event loop: see `messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grpclib.const import Handler, Status
from grpclib.server import Stream
from viam.proto.service.datamanager import UnimplementedDataManagerServiceBase
from viam.resource.manager import ResourceManager
from viam.resource.rpc_service_base import ResourceRPCServiceBase

from holdfast.base.words import shown

from ..off_loop import start_thread
from ..rpc_errors import rpc_error, translated
from .data_manager import DataManager
from .messages import Raw, receive_command, receive_name, receive_upload, send_result


class DataManagerRPCService(UnimplementedDataManagerServiceBase, ResourceRPCServiceBase[DataManager]):
    """Serves the data manager of a machine."""

    RESOURCE_TYPE = DataManager  # type: ignore[assignment]

    def __init__(self, manager: ResourceManager) -> None:
        super().__init__(manager)
        start_thread()

    def __mapping__(self) -> dict[str, Handler]:
        """Returns the SDK's table of RPCs, whose messages are bytes for grpclib: `messages` makes them."""
        handlers = super().__mapping__()
        return {rpc: handler._replace(request_type=Raw, reply_type=Raw) for rpc, handler in handlers.items()}

    async def Sync(self, stream: Stream[Any, Raw]) -> None:
        await translated(self._sync(stream))
        await stream.send_message(Raw())

    async def UploadBinaryDataToDatasets(self, stream: Stream[Any, Raw]) -> None:
        await translated(self._upload(stream))
        await stream.send_message(Raw())

    async def DoCommand(self, stream: Stream[Any, Raw]) -> None:
        await send_result(stream, await translated(self._do_command(stream)))

    async def GetStatus(self, stream: Stream[Any, Raw]) -> None:
        await send_result(stream, await translated(self._get_status(stream)))

    async def _sync(self, stream: Stream[Any, Raw]) -> None:
        await self._named(await receive_name(stream)).sync(timeout=_timeout(stream))

    async def _upload(self, stream: Stream[Any, Raw]) -> None:
        request = await receive_upload(stream)
        await self._named(request.name).upload_binary_data_to_datasets(
            request.data, request.tags, request.dataset_ids, request.mime_type, timeout=_timeout(stream)
        )

    async def _do_command(self, stream: Stream[Any, Raw]) -> Mapping[str, Any]:
        name, command = await receive_command(stream)
        return await self._named(name).do_command(command, timeout=_timeout(stream))

    async def _get_status(self, stream: Stream[Any, Raw]) -> Mapping[str, Any]:
        return await self._named(await receive_name(stream)).get_status(timeout=_timeout(stream))

    def _named(self, name: str) -> DataManager:
        """Returns the data manager of that name; for an empty name, the only one there is.

        viam-server sends UploadBinaryDataToDatasets with an empty name.
        Raises GRPCError (NOT_FOUND) when there is no such data manager, or more than one for an empty name.
        """
        managers = {each.name: each for each in self.manager.resources.values() if isinstance(each, DataManager)}
        if not name and len(managers) == 1:
            return next(iter(managers.values()))
        if name not in managers:
            raise rpc_error(Status.NOT_FOUND, f"there is no data manager {shown(name)}")
        return managers[name]


def _timeout(stream: Stream[Any, Any]) -> float | None:
    return stream.deadline.time_remaining() if stream.deadline else None
