"""What reaches the cloud of a capture folder, by the hand of either data manager."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viam.proto.app.datasync import SensorData, UploadMetadata

from demo.cloud import LocalCloud

from ..machines import KEY, KEY_ID, MODULE, PART_ID, RUN, frames_in, until
from ..viam_server import ViamServer
from .pair import module
from .records import plain, readable

BUILTIN, OURS = "rdk:builtin:builtin", "holdfast:data-manager:durable"
_DELIVERED_S = 30.0


Texts = Mapping[str, list[str]]
"""What arrived in the cloud, by folder: a text for each reading, times and all, and one for each binary payload,
however it was sent, with its hash; in the order of the texts."""


def some_of(capture_dir: Path, count: int) -> dict[Path, Path]:
    """The first files of each folder: the place in the capture folder → the file."""
    folders = sorted({path.parent for path in capture_dir.rglob("*.capture")})
    files = [path for folder in folders for path in sorted(folder.glob("*.capture"))[:count]]
    return {path.relative_to(capture_dir): path for path in files}


def readings_in(files: Mapping[Path, Path]) -> int:
    return sum(len(frames_in(original.read_bytes())) - 1 for original in files.values())


async def deliver(binary: Path, folder: Path, by: str, files: Mapping[Path, Path], count: int) -> Texts:
    """Lets a data manager that captures nothing deliver copies of these capture files (see `some_of`), until
    `count` readings have arrived and no file is left."""
    readings: list[tuple[UploadMetadata, SensorData]] = []
    capture_dir = folder / "captured"
    for place, original in files.items():
        (capture_dir / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original, capture_dir / place)
    cloud = LocalCloud(
        folder / "cloud",
        part_id=PART_ID,
        api_keys={KEY_ID: KEY},
        on_reading=lambda about, data: readings.append((about, data)),
    )
    server = ViamServer(binary, folder)
    await cloud.start()
    try:
        cloud.set_machine_config(config_of(by, capture_dir, cloud, server))
        await server.start_connected(cloud.address, part_id=PART_ID)
        await until(
            lambda: len(readings) >= count and not any(capture_dir.rglob("*.capture")),
            f"{by} delivers all",
            _DELIVERED_S,
        )
    finally:
        await server.stop()
        await cloud.stop()
    texts: dict[str, list[str]] = {}
    for about, data in readings:
        payload = plain(data.struct) if data.HasField("struct") else "a binary one: see below"
        whole = {"about": plain(about), "metadata": plain(data.metadata), "payload": payload}
        texts.setdefault(_folder(about.component_type, about.component_name, about.method_name), []).append(
            readable(whole)
        )
    payloads = folder / "cloud" / "binary.jsonl"
    for row in map(json.loads, payloads.read_text().splitlines() if payloads.exists() else ()):
        del row["stored"]
        texts[_folder(row["component_type"], row["component_name"], row["method_name"])].append(readable(row))
    return {where: sorted(each) for where, each in texts.items()}


def _folder(*names: str) -> str:
    return "/".join(names).replace(":", "_")


async def both_deliver(
    binary: Path, folder: Path, files: Mapping[Path, Path], of_builtin: int, of_ours: int
) -> tuple[Texts, Texts]:
    """What arrives of these files by the hand of the builtin and by ours, of each as many readings as said."""
    builtin, ours = (
        deliver(binary, folder / by.split(":")[0], by, files, count)
        for by, count in ((BUILTIN, of_builtin), (OURS, of_ours))
    )
    return await asyncio.gather(builtin, ours)


def config_of(by: str, capture_dir: Path, cloud: LocalCloud, server: ViamServer, **more: object) -> dict[str, Any]:
    """The config of a machine on which a data manager captures nothing and delivers what is there."""
    attributes = {"capture_dir": str(capture_dir), "capture_disabled": True, "sync_interval_mins": 0.005, **more}
    if by == OURS:
        attributes["cloud_address"] = cloud.address
    service = {"name": "data", "api": "rdk:service:data_manager", "model": by, "attributes": attributes}
    return {
        "modules": [module(MODULE, RUN)] if by == OURS else [],
        "services": [service],
        "network": {"bind_address": server.bind_address},
    }
