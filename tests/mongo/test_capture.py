"""Capture to MongoDB with a server in this process: each reading once and in order, whatever it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.config import MongoSettings
from holdfast.mongo import MongoCapture, MongoReport, SpoolPlace
from holdfast.mongo import writer as writer_module
from holdfast.mongo.target import MongoError, MongoErrorKind
from holdfast.mongo.writer import BATCH_READINGS, REFUSED, UP, WAITING
from tests.mongo_server import NO_CONNECTION, Connection, MongoServer
from tests.storage.samples import API, message
from tests.waiting import eventually

ORIGIN = (API, "lidar", "Readings")
HERE = MongoSettings("mongodb://here", "sensorData", "readings")
SLOW = MongoError(MongoErrorKind.REFUSED, "it took too long", slow=True)


class Rig:
    """Capture to MongoDB without collectors: the test appends."""

    def __init__(self, folder: Path, server: MongoServer) -> None:
        self.mongo = MongoCapture(FileSystem(), SystemClock(), server.connect)
        self.owned = True
        self.taken = 0
        self._folder = folder

    def configure(self, settings: MongoSettings | None = HERE, folder: str = "capture") -> None:
        self.mongo.configure(
            settings, SpoolPlace(str(self._folder / folder), 0.01, lambda: self.owned, lambda: None)
        )

    async def take(self, count: int, **more: Any) -> None:
        """Returns when they are on the disk."""
        assert self.mongo.spool is not None
        for number in range(self.taken, self.taken + count):
            self.mongo.spool.append(ORIGIN, message(number, {"seq": number, **more}))
        self.taken += count
        await self.mongo.flush()

    @property
    def waiting(self) -> int:
        return self.mongo.report().waiting.readings

    async def all_done(self) -> None:
        await eventually(lambda: not self.waiting)


@pytest.fixture
def server() -> MongoServer:
    return MongoServer()


@pytest.fixture
async def rig(tmp_path: Path, server: MongoServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(writer_module, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(writer_module, "RETRY_MOST_S", 0.01)
    made = Rig(tmp_path, server)
    yield made
    server.may_answer.set()
    await made.mongo.stop()


async def test_readings_come_once_and_in_order_in_batches(rig: Rig, server: MongoServer) -> None:
    rig.owned = False
    rig.configure()
    await rig.take(2 * BATCH_READINGS + 1)
    rig.owned = True
    await rig.all_done()
    assert server.seqs == list(range(rig.taken))
    assert [len(call) for call in server.calls] == [BATCH_READINGS, BATCH_READINGS, 1]
    report = rig.mongo.report()
    assert (report.state, report.counts.written, dict(report.counts.dropped)) == (UP, rig.taken, {})


async def test_nothing_is_sent_while_the_folder_is_somebody_elses(rig: Rig, server: MongoServer) -> None:
    rig.owned = False
    rig.configure()
    await rig.take(3)
    await eventually(lambda: rig.mongo.report().state == WAITING)
    assert (server.connections, rig.waiting) == ([], 3)
    rig.owned = True
    await rig.all_done()
    assert server.seqs == [0, 1, 2]


@pytest.mark.parametrize("kind", MongoErrorKind)
async def test_what_is_not_confirmed_is_sent_again_with_the_same_names_until_it_is(
    kind: MongoErrorKind, rig: Rig, server: MongoServer
) -> None:
    server.faults.extend((MongoError(kind, "not now"), written) for written in (0, 7, 10))
    rig.configure()
    await rig.take(10)
    await rig.all_done()
    assert server.seqs == list(range(10))
    assert len(server.calls) == 4 and len({tuple(call) for call in server.calls}) == 1
    assert rig.mongo.report().counts.written == 10


async def test_while_nothing_is_taken_the_state_says_why_and_readings_wait(rig: Rig, server: MongoServer) -> None:
    server.fault = NO_CONNECTION
    rig.configure()
    await rig.take(10)
    await eventually(lambda: len(server.calls) > 5)
    report = rig.mongo.report()
    assert (report.state, report.why, report.waiting.readings) == ("no connection", "nobody there", 10)
    await rig.take(5)
    server.fault = None
    await rig.all_done()
    assert server.seqs == list(range(15))
    assert (rig.mongo.report().state, rig.mongo.report().why) == (UP, "")


async def test_a_batch_of_which_nothing_is_heard_is_halved_and_grows_again(rig: Rig, server: MongoServer) -> None:
    rig.owned = False
    server.faults.extend([(SLOW, 0)] * 3)
    rig.configure()
    await rig.take(4 * BATCH_READINGS)
    rig.owned = True
    await rig.all_done()
    sizes = [len(call) for call in server.calls]
    assert sizes[:4] == [500, 250, 125, 62]
    assert max(sizes[4:]) == BATCH_READINGS
    assert server.seqs == list(range(rig.taken))


async def test_an_error_that_is_not_slow_leaves_the_batch_as_it_is(rig: Rig, server: MongoServer) -> None:
    server.faults.extend([(NO_CONNECTION, 0)] * 3)
    rig.owned = False
    rig.configure()
    await rig.take(100)
    rig.owned = True
    await rig.all_done()
    assert [len(call) for call in server.calls] == [100] * 4


async def test_a_document_that_is_refused_is_counted_and_the_others_are_written(
    rig: Rig, server: MongoServer
) -> None:
    server.refuses = lambda document: document["data"]["readings"]["seq"] in (3, 4)
    rig.configure()
    await rig.take(10)
    await rig.all_done()
    assert server.seqs == [0, 1, 2, 5, 6, 7, 8, 9]
    counts = rig.mongo.report().counts
    assert (counts.taken, counts.written, counts.dropped) == (10, 8, {REFUSED: 2})
    assert rig.mongo.report().last_error == "it is not wanted"


async def test_a_reading_that_can_be_no_document_is_counted_and_the_others_are_written(
    rig: Rig, server: MongoServer
) -> None:
    rig.configure()
    await rig.take(2)
    assert rig.mongo.spool is not None
    rig.mongo.spool.append(ORIGIN, b"\xff")
    await rig.take(2)
    await rig.all_done()
    assert server.seqs == [0, 1, 2, 3]
    counts = rig.mongo.report().counts
    assert (counts.taken, counts.written, counts.dropped) == (5, 4, {"unreadable": 1})


async def test_what_nobody_foresaw_costs_nothing(rig: Rig, server: MongoServer) -> None:
    server.faults.append((ZeroDivisionError("a bug"), 4))
    rig.configure()
    await rig.take(10)
    await rig.all_done()
    assert server.seqs == list(range(10))


async def test_other_settings_hold_from_the_next_call_on(
    rig: Rig, server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, also while it waits for its next try."""
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


async def test_a_connection_that_can_not_be_made_is_tried_again(
    rig: Rig, server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0

    def connect(settings: MongoSettings) -> Connection:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise MongoError(MongoErrorKind.UNUSABLE, "no such host")
        return server.connect(settings)

    monkeypatch.setattr(rig.mongo, "_connect", connect)
    rig.configure()
    await rig.take(5)
    await rig.all_done()
    assert (server.seqs, attempts) == (list(range(5)), 3)


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


async def test_the_end_waits_for_no_answer_and_what_was_under_way_is_not_taken_for_done(
    rig: Rig, server: MongoServer, tmp_path: Path
) -> None:
    server.may_answer.clear()
    rig.configure()
    await rig.take(10)
    await eventually(lambda: server.calls)
    writer = next(iter(rig.mongo._writers.values()))
    await asyncio.wait_for(rig.mongo.stop(), 20)  # while the call, and the farewell, wait for an answer
    assert not server.connections[0].closed.is_set()
    server.may_answer.set()
    await eventually(server.connections[0].closed.is_set)
    await asyncio.to_thread(writer._thread.join)
    assert writer.spool.waiting().readings == 10
    again = Rig(tmp_path, server)
    again.configure()
    await eventually(lambda: again.mongo.report().counts.written == 10)
    await again.mongo.stop()
    assert server.seqs == list(range(10))


async def test_the_end_sends_what_can_be_sent_at_once(rig: Rig, server: MongoServer) -> None:
    rig.configure()
    for _ in range(3):
        await rig.take(1)
    await rig.mongo.stop()
    assert server.seqs == [0, 1, 2]
    assert server.connections[0].closed.is_set()


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
