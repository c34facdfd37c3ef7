"""A collector: one method of one resource, read at its frequency and handed to storage.

Everything belongs to the event loop. A call that fails, hangs or is filtered costs that reading only; the next
deadline tries again. At most one call is in flight, so readings are stored in the order of their requests.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.struct_pb2 import Struct
from viam.proto.app.datasync import DataCaptureMetadata, DataType

from ..clock import Clock
from ..config import CaptureMethod, short_name
from ..errors import ResourceCallError, ResourceErrorKind
from ..storage.disk_writer import DiskWriter
from ..storage.frames import tabular_message
from .client import UnaryClient
from .methods import TabularMethod

logger = logging.getLogger(__name__)

_STOP_TIMEOUT_S = 0.5
_MOST_WARNINGS, _WARNINGS_WITHIN_S = 5, 60.0  # a resource may find new words for each failure


@dataclass(frozen=True)
class CollectorSpec:
    """Everything that makes a collector what it is: an equal spec means that it may go on running."""

    api: str
    method: CaptureMethod
    table: TabularMethod
    client: UnaryClient
    tags: tuple[str, ...]
    writer: DiskWriter
    max_file_bytes: int

    @property
    def resource(self) -> str:
        return short_name(self.method.name)

    @property
    def key(self) -> str:
        return f"{self.api}/{self.resource} {self.method.method} {self.method.params!r}"

    def metadata(self) -> DataCaptureMetadata:
        """The header of this collector's files."""
        metadata = DataCaptureMetadata(
            component_type=self.api,
            component_name=self.resource,
            method_name=self.method.method,
            type=DataType.DATA_TYPE_TABULAR_SENSOR,
            file_extension=".dat",
            tags=self.tags,
        )
        params = Struct()
        params.update(dict(self.method.params))
        for name, value in params.fields.items():
            packed = AnyMessage()
            packed.Pack(value)
            metadata.method_parameters[name].CopyFrom(packed)
        return metadata


class Collector:
    """Reads when told to. `append` takes each reading as a serialized `SensorData` and must not block;
    `may_warn` says whether a failure, given as a text, should be logged now."""

    def __init__(
        self, spec: CollectorSpec, clock: Clock, append: Callable[[bytes], None], may_warn: Callable[[str], bool]
    ) -> None:
        self.spec = spec
        self.readings = 0
        self.errors = 0
        self.filtered = 0
        self.last_error: str | None = None
        self.last_reading_s: float | None = None
        """When the last reading came, on the monotonic clock."""
        self._clock = clock
        self._append = append
        self._may_warn = may_warn
        self._request = spec.table.request(spec.resource, dict(spec.method.params))
        self._warned_s: deque[float] = deque(maxlen=_MOST_WARNINGS)
        self._call: asyncio.Task[None] | None = None

    def read(self) -> bool:
        """Starts a reading; False when the previous one has not come yet."""
        if self._call is not None:
            return False
        self._call = asyncio.get_running_loop().create_task(self._read())
        return True

    async def stop(self) -> None:
        """Waits for the reading in flight, for at most half a second; then it is given up."""
        if self._call is not None:
            await asyncio.wait([self._call], timeout=_STOP_TIMEOUT_S)
        if self._call is not None:
            self._call.cancel()

    async def _read(self) -> None:
        method = self.spec.method
        requested_ns = self._clock.time_ns()
        try:
            answer = await self.spec.client.call(self.spec.table.rpc, self._request, method.timeout_s)
        except ResourceCallError as error:
            self._failed(error)
        else:
            received_ns = self._clock.time_ns()
            self._append(tabular_message(requested_ns, received_ns, self.spec.table.payload(answer)))
            self.readings += 1
            self.last_reading_s = self._clock.monotonic()
        finally:
            self._call = None

    def _failed(self, error: ResourceCallError) -> None:
        if error.kind is ResourceErrorKind.FILTERED:
            self.filtered += 1
            return
        self.errors += 1
        self.last_error = str(error)
        now_s = self._clock.monotonic()
        if len(self._warned_s) == _MOST_WARNINGS and now_s - self._warned_s[0] < _WARNINGS_WITHIN_S:
            return
        if self._may_warn(f"{self.spec.key} {error}"):
            self._warned_s.append(now_s)
            logger.warning(
                "no reading from %s of %s: %s; it is asked again at its next deadline",
                self.spec.method.method,
                self.spec.resource,
                error,
            )
