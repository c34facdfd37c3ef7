"""Collector specs for the tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from holdfast.capture.client import UnaryClient
from holdfast.capture.collector import CollectorSpec
from holdfast.capture.methods import lookup
from holdfast.config import CaptureMethod
from holdfast.storage.disk_writer import DiskWriter

API = "rdk:component:sensor"

NOWHERE = cast(DiskWriter, None)
"""For collectors whose readings the test takes itself."""


def spec(
    client: UnaryClient,
    writer: DiskWriter,
    name: str = "lidar",
    *,
    hz: float = 10.0,
    params: Mapping[str, Any] | None = None,
    tags: tuple[str, ...] = (),
    timeout_s: float = 5.0,
    max_file_bytes: int = 256 * 1024,
) -> CollectorSpec:
    table = lookup(API, "Readings")
    assert table is not None
    method = CaptureMethod(name, "Readings", hz, tuple(sorted((params or {}).items())), (), timeout_s)
    return CollectorSpec(API, method, table, client, tags, writer, max_file_bytes)
