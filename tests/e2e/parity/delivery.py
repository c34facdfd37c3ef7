"""What reaches the cloud of a capture folder, by the hand of either data manager."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viam.proto.app.datasync import SensorData, UploadMetadata

from demo.cloud import LocalCloud

from ..machines import KEY, KEY_ID, MODULE, PART_ID, RUN, frames_in, until
from ..viam_server import ViamServer
from .pair import module
from .records import payload_of, plain, readable

BUILTIN, OURS = "rdk:builtin:builtin", "holdfast:data-manager:durable"
_DELIVERED_S = 30.0


Texts = Mapping[str, list[str]]
"""What arrived in the cloud, by folder: a text for each reading, times and all, in the order of the texts."""


def some_of(capture_dir: Path, count: int) -> dict[Path, Path]:
    """The first files of each folder: the place in the capture folder → the file."""
    folders = sorted({path.parent for path in capture_dir.rglob("*.capture")})
    files = [path for folder in folders for path in sorted(folder.glob("*.capture"))[:count]]
    return {path.relative_to(capture_dir): path for path in files}


async def deliver(binary: Path, folder: Path, by: str, files: Mapping[Path, Path]) -> Texts:
    """Lets a data manager that captures nothing deliver copies of these capture files (see `some_of`)."""
    readings: list[tuple[UploadMetadata, SensorData]] = []
    capture_dir = folder / "captured"
    for place, original in files.items():
        (capture_dir / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original, capture_dir / place)
    count = sum(len(frames_in(original.read_bytes())) - 1 for original in files.values())
    cloud = LocalCloud(
        folder / "cloud",
        part_id=PART_ID,
        api_keys={KEY_ID: KEY},
        on_reading=lambda about, data: readings.append((about, data)),
    )
    server = ViamServer(binary, folder)
    await cloud.start()
    try:
        cloud.set_machine_config(_config(by, capture_dir, cloud, server))
        await server.start_connected(cloud.address, part_id=PART_ID)
        await until(lambda: len(readings) >= count, f"{by} delivers all", _DELIVERED_S)
    finally:
        await server.stop()
        await cloud.stop()
    texts: dict[str, list[str]] = {}
    for about, data in readings:
        where = f"{about.component_type}/{about.component_name}/{about.method_name}".replace(":", "_")
        whole = {"about": plain(about), "metadata": plain(data.metadata), "payload": payload_of(data)}
        texts.setdefault(where, []).append(readable(whole))
    return {where: sorted(each) for where, each in texts.items()}


def _config(by: str, capture_dir: Path, cloud: LocalCloud, server: ViamServer) -> dict[str, Any]:
    attributes = {"capture_dir": str(capture_dir), "capture_disabled": True, "sync_interval_mins": 0.005}
    if by == OURS:
        attributes["cloud_address"] = cloud.address
    service = {"name": "data", "api": "rdk:service:data_manager", "model": by, "attributes": attributes}
    return {
        "modules": [module(MODULE, RUN)] if by == OURS else [],
        "services": [service],
        "network": {"bind_address": server.bind_address},
    }
