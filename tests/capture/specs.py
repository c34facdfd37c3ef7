"""Collector specs for the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from viam.proto.app.datasync import SensorData

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import Buffer
from holdfast.capture.client import UnaryClient
from holdfast.capture.collector import CollectorSpec
from holdfast.capture.gaps import History
from holdfast.capture.methods import lookup
from holdfast.config import CaptureMethod
from holdfast.storage.ledger.counts import CollectorId
from holdfast.storage.writing.disk_writer import DiskWriter
from holdfast.storage.writing.sink import Sink

API = "rdk:component:sensor"

NOWHERE = cast(DiskWriter, None)
"""Stands for the writer of collectors whose readings go to a sink of the test."""


def no_tee(collector: CollectorId, sink: Sink) -> Sink:
    """Readings go to `sink` only."""
    return sink


def history() -> History:
    """The gaps of a collector that nobody looks at."""
    return History(SystemClock(), "key", (API, "lidar", "Readings"), 10.0)


class FakeSink:
    """Keeps the readings that a collector writes: messages, and binary readings with their MIME types."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.binaries: list[tuple[SensorData, str]] = []

    def append(self, message: bytes) -> None:
        self.messages.append(message)

    def append_binary(self, head: bytes, payload: Sequence[Buffer], mime_type: str) -> None:
        self.binaries.append((SensorData.FromString(b"".join((head, *payload))), mime_type))


def spec(
    client: UnaryClient,
    writer: DiskWriter,
    name: str = "lidar",
    method_name: str = "Readings",
    *,
    api: str = API,
    hz: float = 10.0,
    params: Mapping[str, Any] | None = None,
    tags: tuple[str, ...] = (),
    timeout_s: float = 5.0,
    max_file_bytes: int = 256 * 1024,
    max_in_flight: int = 1,
) -> CollectorSpec:
    table = lookup(api, method_name)
    assert table is not None
    method = CaptureMethod(
        name,
        method_name,
        hz,
        tuple(sorted((params or {}).items())),
        timeout_s=timeout_s,
        max_in_flight=max_in_flight,
    )
    return CollectorSpec(api, method, table, client, tags, writer, max_file_bytes)
