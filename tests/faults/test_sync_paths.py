"""Additional sync paths on file systems that hang, die, come back and are read-only: real mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.sync import additional_paths
from holdfast.sync.path_check import PathKind
from tests.sync.conftest import make_world, write_old_file
from tests.waiting import eventually

from . import disks


@pytest.mark.usefixtures("needs_stalled_disk")
async def test_a_file_system_that_hangs_and_dies_holds_up_no_other_path_and_is_synced_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(additional_paths, "STALL_S", 0.2)
    works = tmp_path / "works"
    with disks.stalled(tmp_path / "share") as share:
        async with make_world(tmp_path / "world") as world:
            paths = world.rounds.additional
            world.rounds.configure(world.settings(additional_paths=(str(share.folder), str(works))))
            write_old_file(works / "a.txt", b"x")
            world.capture_file("9999-a", [1])
            await eventually(lambda: world.arrived.of("lidar") == [1] and len(world.arrived.files) == 1)
            assert "does not answer: its file system hangs" in paths.problems[0]
            share.die()
            await eventually(lambda: any("Transport endpoint is not connected" in each for each in paths.problems))
            disks.unmount(share.folder)
            write_old_file(share.folder / "b.txt", b"y")
            await eventually(lambda: len(world.arrived.files) == 2)
            assert paths.problems == []
            write_old_file(works / "c.txt", b"z")
            await eventually(lambda: len(world.arrived.files) == 3)


@pytest.mark.usefixtures("needs_disks")
async def test_files_on_a_read_only_disk_are_sent_once_and_it_is_said_that_they_stay(tmp_path: Path) -> None:
    with disks.tmpfs(tmp_path / "disk", 1 << 20) as disk:
        kept = write_old_file(disk.folder / "a.txt", b"x")
        disk.refuse()
        try:
            async with make_world(tmp_path / "world") as world:
                paths = world.rounds.additional
                world.rounds.configure(world.settings(additional_paths=(str(disk.folder), str(kept))))
                await eventually(lambda: world.arrived.files)
                assert [each.kind for each in paths.all] == [PathKind.FOLDER, PathKind.FILE]
                assert all("may not delete anything in" in each for each in paths.problems)
                walks = world.completed
                await eventually(lambda: world.completed > walks + 5)
                assert len(world.arrived.files) == 1 and kept.exists()
        finally:
            disk.permit()
