"""These tests check the torture's plans, and make a short run for every day; `make torture` makes the long ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from . import disks
from .faults import FAULTS, FULL_DISK
from .strace import IS_CI
from .torture import Torture, plan

SEED = 144
SECONDS = 25.0


def test_a_plan_follows_from_its_seed() -> None:
    assert plan(1, 300) == plan(1, 300)
    assert plan(1, 300) != plan(2, 300)


def test_a_longer_plan_begins_as_the_shorter_one() -> None:
    assert plan(1, 300)[: len(plan(1, 60))] == plan(1, 60)


def test_every_fault_comes_in_an_hour() -> None:
    drawn = Counter(step.fault.name for step in plan(1, 3600))
    assert set(drawn) == {fault.name for fault in FAULTS}


@pytest.mark.parametrize("seed", range(20))
def test_nothing_ends_a_process_while_the_disk_is_full_and_of_a_group_one_thing_lasts(seed: int) -> None:
    steps = plan(seed, 600)
    for first in steps:
        for second in steps:
            if first is not second and first.at_s <= second.at_s < first.end_s:
                assert first.fault.group != second.fault.group
                assert not (first.fault.name == FULL_DISK and second.fault.ends_process)
                assert not (second.fault.name == FULL_DISK and first.fault.ends_process)


def test_a_fault_either_happens_or_lasts() -> None:
    assert all((fault.happens is None) != (fault.lasts is None) for fault in FAULTS)
    assert all(bool(fault.group) == (fault.lasts is not None) for fault in FAULTS)


@pytest.mark.usefixtures("needs_disks")
async def test_a_small_disk_is_full_until_it_is_freed_and_gone_in_the_end(tmp_path: Path) -> None:
    with disks.tmpfs(tmp_path / "disk", disks.MEBIBYTE) as disk:
        assert (tmp_path / "disk").is_mount()
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (disk.folder / "file").write_bytes(bytes(4096))
        await disk.free()
        (disk.folder / "file").write_bytes(bytes(4096))
    assert not (tmp_path / "disk").is_mount()


async def test_many_faults_at_once_cost_what_each_may_cost_and_no_more(
    viam_server_binary: Path, tmp_path: Path
) -> None:
    result = await Torture(tmp_path, viam_server_binary, SEED, SECONDS).run()
    print(result)
    assert result.good, f"seed {SEED}, {SECONDS:g} s\n{result}"
    assert not (result.skipped and IS_CI), result.skipped
