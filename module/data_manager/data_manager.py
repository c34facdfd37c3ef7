"""`DataManager` is the interface of a data manager, as Viam defines it."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, Final

from viam.proto.app.datasync import MimeType
from viam.resource.types import API, RESOURCE_NAMESPACE_RDK, RESOURCE_TYPE_SERVICE
from viam.services.service_base import ServiceBase

from holdfast.base.attachment import Attachment


class DataManager(ServiceBase):
    """Captures data and syncs it to the cloud."""

    API: Final = API(RESOURCE_NAMESPACE_RDK, RESOURCE_TYPE_SERVICE, "data_manager")  # type: ignore[misc]

    @abc.abstractmethod
    async def sync(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Sends what is on disk now to the cloud. Returns when it is delivered, and raises when it is not."""

    @abc.abstractmethod
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
        """Uploads `binary_data` and adds it to the datasets. What comes over the service is an `Attachment`."""
