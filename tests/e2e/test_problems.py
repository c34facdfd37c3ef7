"""What a person reads of a machine that is in trouble, in the status and in viam-server's log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults import disks
from tests.faults.conftest import needs_disks

from .machines import Servers, Status, a_machine, readings_of, until

__all__ = ["needs_disks"]


@pytest.mark.usefixtures("needs_disks")
async def test_a_pause_and_a_full_disk_are_told_with_their_numbers_and_are_gone_when_they_are_over(
    viam_server: Servers, tmp_path: Path
) -> None:
    def of_the_disk(status: Status) -> list[str]:
        return [each["cost"] for each in status["problems"] if "No space left on device" in each["what"]]

    with disks.tmpfs(tmp_path / "disk", 2 * disks.MEBIBYTE) as disk:
        async with a_machine(viam_server, tmp_path) as machine:
            source = machine.source("counting")
            await machine.start(
                components=[source.component],
                capture_dir=str(disk.folder / "capture"),
                capture_dir_deletion_threshold=1.0,
                capture_methods=[readings_of("counting", 50)],
            )
            await until(lambda: len(machine.of("counting")) >= 20, "the readings arrive")
            assert (await machine.status())["problems"] == []
            await machine.command(command="pause", what="sync")
            disk.fill()
            status = await machine.until_status(
                lambda status: any("dropped" in cost for cost in of_the_disk(status)), "the full disk is told"
            )
            assert status["paused"] == [{"what": "sync", "until": "", "persist": False}]
            found = status["problems"][0]
            assert found["kind"] == "disk" and found["times"] == 1 and "free space" in found["do"]
            assert re.fullmatch(r"[1-9]\d* readings? of 1 collector dropped", found["cost"])
            await disk.free()
            await machine.command(command="resume", what="sync")
            status = await machine.until_status(
                lambda status: (
                    not status["paused"]
                    and ["were dropped until" in each["what"] for each in status["problems"]] == [True]
                ),
                "all is well again",
                timeout_s=60,
            )
            dropped = sum(status["readings"]["dropped"].values())
            await until(lambda: len(machine.of("counting")) >= 200, "the readings arrive again")
            log = machine.server.log_text()
            assert "set by command: sync is paused" in log and "ended by command: sync is paused" in log
            (said,) = re.findall(r"takes readings again: \w+ cost (\d+) readings? of 1 collector ", log)
            assert int(said) == dropped
            assert "capture goes on" not in log
            await machine.stop_capture_and_sync()
