from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.sync.found import Outcome
from holdfast.sync.summary import OFTEN_S, SELDOM_S, Summary
from holdfast.sync.walk.listings import Waiting
from tests.fakes import FakeClock


class Rig:
    def __init__(self, paths: tuple[str, ...]) -> None:
        self.clock = FakeClock()
        self.paths = paths
        self.waiting: Waiting | None = Waiting(0, 0, None, 0, 0, 0.0)
        self.left_s: float | None = None
        self.summary = Summary(
            FileSystem(), self.clock, lambda: self.paths, lambda: self.waiting, lambda: self.left_s
        )

    def add(self, path: str, outcome: Outcome = Outcome.DELIVERED) -> None:
        self.summary.note_attempt(path, outcome, 1, 1024)


@pytest.fixture
async def rig(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Rig]:
    caplog.set_level(logging.INFO)
    rig = Rig(("/capture", "/data"))
    await rig.summary.learn_paths()
    task = asyncio.create_task(rig.summary.run())
    yield rig
    task.cancel()


async def test_a_line_tells_what_went_by_sync_path(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        rig.add(f"/capture/a/{number}.capture")
    rig.add("/data/x", Outcome.WAITING)
    rig.add("/data/y", Outcome.QUARANTINED)
    rig.add("/data/z", Outcome.GONE)
    await rig.clock.advance(OFTEN_S)
    assert caplog.messages == [
        "sync, in the last 60 s: /capture: 3 files (3.0 KiB); "
        "/data: 0 files (0 bytes), 1 not accepted yet, 1 to failed/; still to be sent: 0 files (0 bytes)"
    ]


@pytest.mark.parametrize(
    ("waiting", "left_s", "said"),
    [
        (Waiting(17, 2048, 0, 0, 0, 0.0), 90.0, "still to be sent: 17 files (2.0 KiB), 90 s at this rate"),
        (Waiting(17, 2048, 0, 0, 0, 0.0), None, "still to be sent: 17 files (2.0 KiB)"),
        (None, None, "not all sync paths are looked at yet"),
    ],
    ids=["it moves", "nothing moves", "not known"],
)
async def test_a_line_tells_what_is_left_as_far_as_that_is_known(
    rig: Rig, caplog: pytest.LogCaptureFixture, waiting: Waiting | None, left_s: float | None, said: str
) -> None:
    rig.waiting, rig.left_s = waiting, left_s
    rig.add("/capture/a")
    await rig.clock.advance(OFTEN_S)
    (line,) = caplog.messages
    assert line.endswith(f"; {said}")


async def test_nothing_happened_nothing_is_said(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.add("/data/log", Outcome.HELD_OPEN)
    await rig.clock.advance(10 * OFTEN_S)
    assert caplog.messages == []


async def test_while_all_is_well_lines_become_seldom(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(24 * 60):
        rig.add("/capture/a")
        await rig.clock.advance(60)
    assert 24 <= len(caplog.messages) <= 24 + 6
    assert caplog.messages[-1].startswith(f"sync, in the last {SELDOM_S / 60:.0f} min: /capture: 60 files")


async def test_while_something_fails_there_is_a_line_a_minute(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(600):
        rig.add("/capture/a", Outcome.WAITING)
        await rig.clock.advance(6)
    assert 58 <= len(caplog.messages) <= 60


async def test_a_path_with_links_in_it_stands_as_it_is_configured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    rig = Rig((str(tmp_path / "link"),))
    await rig.summary.learn_paths()
    caplog.set_level(logging.INFO)
    task = asyncio.create_task(rig.summary.run())
    rig.add(str(tmp_path / "real" / "a"))
    await rig.clock.advance(OFTEN_S)
    assert f": {tmp_path}/link: 1 file (" in caplog.messages[0]
    task.cancel()


async def test_paths_are_looked_at_only_when_they_are_others_than_before(rig: Rig) -> None:
    """Each upload calls this, so paths that are known must not need a worker thread."""
    with pytest.raises(StopIteration):
        rig.summary.learn_paths().send(None)
    rig.paths = ("/elsewhere",)
    asked = rig.summary.learn_paths()
    assert asked.send(None) is not None, "it waits for a thread"
    asked.close()
