"""`DataManagerRPCService` serves a data manager over gRPC."""

from __future__ import annotations

from typing import Any

from grpclib.server import Stream
from viam.errors import ResourceNotFoundError
from viam.proto.common import DoCommandRequest, DoCommandResponse, GetStatusRequest, GetStatusResponse
from viam.proto.service.datamanager import (
    SyncRequest,
    SyncResponse,
    UnimplementedDataManagerServiceBase,
    UploadBinaryDataToDatasetsRequest,
    UploadBinaryDataToDatasetsResponse,
)
from viam.resource.rpc_service_base import ResourceRPCServiceBase
from viam.utils import dict_to_struct

from holdfast.base.protobuf_values import plain

from .data_manager import DataManager


class DataManagerRPCService(UnimplementedDataManagerServiceBase, ResourceRPCServiceBase[DataManager]):
    """Serves the data manager of a machine."""

    RESOURCE_TYPE = DataManager  # type: ignore[assignment]

    def get_resource(self, name: str) -> DataManager:
        """Returns the data manager of that name, like the SDK; for an empty name, the only one there is.

        viam-server sends UploadBinaryDataToDatasets with an empty name.
        Raises ResourceNotFoundError when there is no such data manager, or more than one for an empty name.
        """
        if not name:
            managers = {id(r): r for r in self.manager.resources.values() if isinstance(r, DataManager)}
            if len(managers) != 1:
                raise ResourceNotFoundError("data_manager", name)
            return next(iter(managers.values()))
        return super().get_resource(name)

    async def Sync(self, stream: Stream[SyncRequest, SyncResponse]) -> None:
        request = await _request(stream)
        manager = self.get_resource(request.name)
        await manager.sync(extra=plain(request.extra.fields), timeout=_timeout(stream))
        await stream.send_message(SyncResponse())

    async def UploadBinaryDataToDatasets(
        self, stream: Stream[UploadBinaryDataToDatasetsRequest, UploadBinaryDataToDatasetsResponse]
    ) -> None:
        request = await _request(stream)
        manager = self.get_resource(request.name)
        await manager.upload_binary_data_to_datasets(
            request.binary_data,
            list(request.tags),
            list(request.dataset_ids),
            request.mime_type,
            extra=plain(request.extra.fields),
            timeout=_timeout(stream),
        )
        await stream.send_message(UploadBinaryDataToDatasetsResponse())

    async def DoCommand(self, stream: Stream[DoCommandRequest, DoCommandResponse]) -> None:
        request = await _request(stream)
        manager = self.get_resource(request.name)
        result = await manager.do_command(plain(request.command.fields), timeout=_timeout(stream))
        await stream.send_message(DoCommandResponse(result=dict_to_struct(result)))

    async def GetStatus(self, stream: Stream[GetStatusRequest, GetStatusResponse]) -> None:
        request = await _request(stream)
        manager = self.get_resource(request.name)
        result = await manager.get_status(timeout=_timeout(stream))
        await stream.send_message(GetStatusResponse(result=dict_to_struct(result)))


async def _request(stream: Stream[Any, Any]) -> Any:
    request = await stream.recv_message()
    assert request is not None
    return request


def _timeout(stream: Stream[Any, Any]) -> float | None:
    return stream.deadline.time_remaining() if stream.deadline else None
