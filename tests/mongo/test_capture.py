"""Capture to MongoDB with a server in this process: changes of the config and restarts, each reading once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.config import MongoSettings
from holdfast.mongo import capture as capture_module
from holdfast.mongo import writer as writer_module
from holdfast.mongo.capture import MongoCapture, MongoReport, SpoolPlace
from holdfast.mongo.target import MongoError, MongoErrorKind
from tests.capture.specs import FakeSink
from tests.mongo_server import NO_CONNECTION, MongoServer
from tests.storage.samples import API, message
from tests.waiting import eventually

ORIGIN = (API, "lidar", "Readings")
HERE = MongoSettings("mongodb://here", "sensorData", "readings")


class Rig:
    """Capture to MongoDB without collectors: the test appends."""

    def __init__(self, folder: Path, server: MongoServer) -> None:
        self.mongo = MongoCapture(FileSystem(), SystemClock(), server.connect)
        self.taken = 0
        self.folder = folder

    def configure(self, settings: MongoSettings | None = HERE, folder: str = "capture") -> None:
        self.mongo.configure(settings, SpoolPlace(str(self.folder / folder), 0.01, lambda: True, lambda: None))

    async def take(self, count: int) -> None:
        """Takes readings and returns when they are on the disk."""
        assert self.mongo.spool is not None
        for number in range(self.taken, self.taken + count):
            self.mongo.spool.append(ORIGIN, message(number, {"seq": number}))
        self.taken += count
        await self.mongo.flush()

    @property
    def waiting(self) -> int:
        return self.mongo.report().waiting.readings

    async def all_done(self) -> None:
        await eventually(lambda: not self.waiting)


@pytest.fixture
async def rig(tmp_path: Path, server: MongoServer, quick_retries: None) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, server)
    yield made
    server.may_answer.set()
    await made.mongo.stop()


async def test_other_settings_hold_from_the_next_call_on(
    rig: Rig, server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, even while the writer waits for its next attempt."""
    monkeypatch.setattr(writer_module, "RETRY_FIRST_S", 3600.0)
    monkeypatch.setattr(writer_module, "RETRY_MOST_S", 3600.0)
    server.faults.append((NO_CONNECTION, 0))
    rig.configure()
    await rig.take(5)
    await eventually(lambda: rig.mongo.report().state == "no connection")
    there = MongoSettings("mongodb://there", "sensorData", "readings")
    rig.configure(there)
    await rig.all_done()
    assert server.seqs == list(range(5))
    first, second = server.connections
    assert (first.settings, second.settings) == (HERE, there)
    assert first.closed.is_set() and not second.closed.is_set()


async def test_what_could_not_be_sent_in_one_life_is_sent_in_the_next(
    rig: Rig, server: MongoServer, tmp_path: Path
) -> None:
    """With the same names, so that what was written and not confirmed is there once."""
    server.faults.append((NO_CONNECTION, 6))
    server.fault = NO_CONNECTION
    rig.configure()
    await rig.take(10)
    await eventually(lambda: server.seqs == list(range(6)))
    await rig.mongo.stop()
    server.fault = None
    again = Rig(tmp_path, server)
    again.configure()
    await eventually(lambda: again.mongo.report().counts.found == 10)
    await again.all_done()
    await again.mongo.stop()
    assert server.seqs == list(range(10))


async def test_without_a_configuration_nothing_is_taken_and_what_waits_stays(rig: Rig, server: MongoServer) -> None:
    server.fault = NO_CONNECTION
    rig.configure()
    await rig.take(10)
    rig.configure(None)
    assert rig.mongo.spool is None
    assert rig.mongo.report() == MongoReport()
    server.fault = None
    rig.configure()
    await rig.take(5)
    await rig.all_done()
    assert server.seqs == list(range(15))


async def test_what_waits_in_a_folder_from_before_is_sent_too(
    rig: Rig, server: MongoServer, tmp_path: Path
) -> None:
    server.fault = NO_CONNECTION
    rig.configure()
    await rig.take(5)
    rig.configure(folder="another")
    await rig.take(5)
    assert rig.waiting == 10
    server.fault = None
    await rig.mongo.drained(str(tmp_path / "capture"))
    await rig.all_done()
    assert sorted(server.seqs) == list(range(10))


async def test_a_release_that_is_cancelled_ends_the_writer_all_the_same(
    rig: Rig, server: MongoServer, tmp_path: Path
) -> None:
    rig.configure()
    await rig.take(1)
    await rig.all_done()
    releasing = asyncio.create_task(rig.mongo.release(str(tmp_path / "capture")))
    await asyncio.sleep(0)
    releasing.cancel()
    await asyncio.wait([releasing])
    await eventually(lambda: "holdfast-mongo" not in [thread.name for thread in threading.enumerate()])
    assert server.connections[0].closed.is_set()


async def test_a_tee_copies_tabular_readings_into_the_spool_while_mongo_is_configured(
    rig: Rig, server: MongoServer
) -> None:
    origin = FakeSink()
    sink = rig.mongo.tee(ORIGIN, origin)
    readings = [message(number, {"seq": number}) for number in range(4)]
    sink.append(readings[0])
    rig.configure()
    sink.append(readings[1])
    sink.append(readings[2])
    sink.append_binary(b"", [], "image/png")
    await rig.mongo.flush()
    await rig.all_done()
    rig.configure(None)
    sink.append(readings[3])
    assert (origin.messages, len(origin.binaries)) == (readings, 1)
    assert server.seqs == [1, 2]


async def test_the_counts_of_a_report_agree_while_threads_change_them(rig: Rig) -> None:
    rig.configure()
    ended = threading.Event()

    def take() -> None:
        assert rig.mongo.spool is not None
        for number in range(20_000):
            rig.mongo.spool.append(ORIGIN, message(number, {"seq": number}))
        ended.set()

    taking = asyncio.create_task(asyncio.to_thread(take))
    while not ended.is_set():
        report = rig.mongo.report()
        counts, waiting = report.counts, report.waiting.readings
        assert counts.taken + counts.found == counts.written + sum(counts.dropped.values()) + waiting
        assert waiting >= 0
        await asyncio.sleep(0)
    await taking
    await rig.all_done()
    assert rig.mongo.spool is not None and rig.mongo.spool.waiting().readings == 0, "and what is counted is so"


async def test_what_keeps_readings_from_mongodb_is_a_problem_until_they_go_there(
    rig: Rig, server: MongoServer
) -> None:
    assert list(rig.mongo.problems) == []
    server.fault = MongoError(MongoErrorKind.LOGIN_REFUSED, "wrong password")
    rig.configure()
    await rig.take(5)
    await eventually(lambda: list(rig.mongo.problems))
    (problem,) = rig.mongo.problems
    assert problem.what == "MongoDB: login refused: wrong password; readings for it wait on the disk"
    assert "password" in problem.do and problem.cost == "5 readings waiting" and problem.patience_s == 0
    server.fault = NO_CONNECTION
    await eventually(lambda: "no connection" in next(rig.mongo.problems).what)
    assert next(rig.mongo.problems).patience_s > 60, "this often ends by itself"
    server.fault = None
    await rig.all_done()
    await eventually(lambda: not list(rig.mongo.problems))


async def test_readings_that_mongodb_does_not_get_are_a_problem_while_more_are_dropped(
    rig: Rig, server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.refuses = lambda document: True
    rig.configure()
    await rig.take(3)
    await rig.all_done()
    (problem,) = rig.mongo.problems
    assert problem.cost == "readings dropped: 3 (refused)" and "it is not wanted" in problem.what
    monkeypatch.setattr(capture_module, "_DROPPING_S", 0.0)
    assert list(rig.mongo.problems) == []


async def test_a_folder_that_goes_is_no_reading_that_is_dropped(
    rig: Rig, server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.refuses = lambda document: True
    for folder, count in (("one", 3), ("two", 2)):
        rig.configure(folder=folder)
        await rig.take(count)
        await rig.all_done()
    assert [problem.cost for problem in rig.mongo.problems] == ["readings dropped: 5 (refused)"]
    monkeypatch.setattr(capture_module, "_DROPPING_S", 0.2)
    await eventually(lambda: not list(rig.mongo.problems))
    await rig.mongo.release(str(rig.folder / "one"))
    assert list(rig.mongo.problems) == []
