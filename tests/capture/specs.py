"""Collector specs for the tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.capture.client import UnaryClient
from holdfast.capture.collector import CollectorSpec
from holdfast.capture.methods import lookup
from holdfast.config import CaptureMethod

API = "rdk:component:sensor"


def spec(
    client: UnaryClient,
    capture_dir: Path,
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
    return CollectorSpec(API, method, table, client, tags, str(capture_dir), max_file_bytes)
