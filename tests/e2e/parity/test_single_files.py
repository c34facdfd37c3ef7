"""A single file in additional_sync_paths, and a link to one: what both data managers send, delete and leave."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from demo.cloud import LocalCloud

from ..machines import KEY, KEY_ID, PART_ID, until
from ..viam_server import ViamServer
from .delivery import BUILTIN, OURS, config_of

_DELIVERED_S = 30.0


async def synced(binary: Path, folder: Path, by: str) -> tuple[dict[str, bytes], list[str]]:
    """Returns what arrives, by its name, and the names of what is left in the folder."""
    files = folder / "files"
    files.mkdir(parents=True)
    for name in ("app.log", "beside.log", "target.log"):
        (files / name).write_bytes(name.encode())
        os.utime(files / name, (1, 1))
    (files / "link.log").symlink_to("target.log")
    paths = [str(files / name) for name in ("app.log", "link.log", "later.log", "*.log")]
    arrived: dict[str, bytes] = {}
    cloud = LocalCloud(
        folder / "cloud",
        part_id=PART_ID,
        api_keys={KEY_ID: KEY},
        on_file=lambda about, path: arrived.update({os.path.relpath(about.file_name, files): path.read_bytes()}),
    )
    server = ViamServer(binary, folder)
    await cloud.start()
    try:
        attributes = {"additional_sync_paths": paths, "file_last_modified_millis": 1}
        cloud.set_machine_config(config_of(by, folder / "captured", cloud, server, **attributes))
        await server.start_connected(cloud.address, part_id=PART_ID)
        gone = [files / "app.log", files / "link.log"]
        await until(lambda: not any(map(os.path.lexists, gone)), f"{by} sends both", _DELIVERED_S)
        (files / "later.log").write_bytes(b"later")
        await until(lambda: not (files / "later.log").exists(), f"{by} sends what comes later", _DELIVERED_S)
        if by == OURS:
            await until(lambda: "mean themselves" in server.log_text(), "the pattern is said to be none")
    finally:
        await server.stop()
        await cloud.stop()
    return arrived, sorted(os.listdir(files))


async def test_both_send_and_delete_a_single_file_and_a_link_and_touch_nothing_else(
    viam_server_binary: Path, tmp_path: Path
) -> None:
    both = [synced(viam_server_binary, tmp_path / by.partition(":")[0], by) for by in (BUILTIN, OURS)]
    builtin, ours = await asyncio.gather(*both)
    assert ours == builtin
    assert ours[0] == {"app.log": b"app.log", "link.log": b"target.log", "later.log": b"later"}
    assert ours[1] == ["beside.log", "target.log"]
