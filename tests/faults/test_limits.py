"""A real module for which the system allows no further file, thread or memory for some seconds: it lives, and each
reading is on the disk or counted."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.machines import until

from . import strace
from .counting_rig import Rig, a_rig

Limit = Callable[[int], AbstractAsyncContextManager[None]]
"""Takes the id of a process, which is limited while the block lasts."""


def limited(kind: int, now: Callable[[int], int]) -> Limit:
    @asynccontextmanager
    async def limit(pid: int) -> AsyncIterator[None]:
        usual = resource.prlimit(pid, kind)
        resource.prlimit(pid, kind, (now(pid), usual[1]))
        try:
            yield
        finally:
            resource.prlimit(pid, kind, usual)

    return limit


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def address_space(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


@asynccontextmanager
async def no_thread(pid: int) -> AsyncIterator[None]:
    threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    async with strace.failing(threads, "thread", "EAGAIN"):
        yield


async def until_on_disk(rig: Rig, count: int) -> None:
    """Returns when so many more readings are in complete files."""
    before = len(rig.on_disk)
    await until(lambda: len(rig.on_disk) >= before + count, f"{count} more readings on the disk")


@pytest.mark.parametrize(
    ("limit", "reasons"),
    [
        (limited(resource.RLIMIT_NOFILE, open_files), {"too_many_open_files"}),
        (no_thread, set()),
        (limited(resource.RLIMIT_AS, address_space), {"unexpected_error"}),
    ],
    ids=["files", "threads", "memory"],
)
@pytest.mark.usefixtures("needs_strace")
async def test_a_module_without_resources_lives_and_counts_what_it_costs(
    tmp_path: Path, limit: Limit, reasons: set[str]
) -> None:
    async with a_rig(tmp_path, maximum_capture_file_size_bytes=2048) as rig:
        pid = rig.machine.pid
        await rig.until_captured(50)
        async with limit(pid):
            await rig.until_captured(250)
            during = await rig.status()
        await until_on_disk(rig, 100)
        after = await rig.status()
        assert rig.machine.pid == pid
    assert during["readings"]["captured"] >= 200
    dropped = after["readings"]["dropped"]
    assert set(dropped) <= reasons
    assert len(rig.on_disk) + sum(dropped.values()) == len(rig.source.seqs)
