"""`DataManagerClient` calls a data manager over a machine's connection, for programs and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grpclib.client import Channel
from viam.proto.app.datasync import MimeType
from viam.proto.common import DoCommandRequest, DoCommandResponse, GetStatusRequest, GetStatusResponse
from viam.proto.service.datamanager import (
    DataManagerServiceStub,
    SyncRequest,
    UploadBinaryDataToDatasetsRequest,
)
from viam.resource.rpc_client_base import ReconfigurableResourceRPCClientBase
from viam.utils import dict_to_struct

from holdfast.base.attachment import Attachment
from holdfast.base.protobuf_values import plain

from .data_manager import DataManager


class DataManagerClient(DataManager, ReconfigurableResourceRPCClientBase):
    """Calls the data manager `name` over a channel."""

    client: DataManagerServiceStub

    def __init__(self, name: str, channel: Channel) -> None:
        super().__init__(name)
        self.channel = channel
        self.client = DataManagerServiceStub(channel)

    async def sync(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> None:
        request = SyncRequest(name=self.name, extra=dict_to_struct(extra))
        await self.client.Sync(request, timeout=timeout, metadata=kwargs.get("metadata", self.Metadata()).proto)

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
        assert isinstance(binary_data, bytes)
        request = UploadBinaryDataToDatasetsRequest(
            name=self.name,
            binary_data=binary_data,
            tags=tags,
            dataset_ids=dataset_ids,
            mime_type=mime_type,
            extra=dict_to_struct(extra),
        )
        metadata = kwargs.get("metadata", self.Metadata()).proto
        await self.client.UploadBinaryDataToDatasets(request, timeout=timeout, metadata=metadata)

    async def do_command(
        self, command: Mapping[str, Any], *, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, Any]:
        request = DoCommandRequest(name=self.name, command=dict_to_struct(command))
        metadata = kwargs.get("metadata", self.Metadata()).proto
        response: DoCommandResponse = await self.client.DoCommand(request, timeout=timeout, metadata=metadata)
        return plain(response.result.fields)

    async def get_status(self, *, timeout: float | None = None, **kwargs: Any) -> Mapping[str, Any]:
        request = GetStatusRequest(name=self.name)
        metadata = kwargs.get("metadata", self.Metadata()).proto
        response: GetStatusResponse = await self.client.GetStatus(request, timeout=timeout, metadata=metadata)
        return plain(response.result.fields)
