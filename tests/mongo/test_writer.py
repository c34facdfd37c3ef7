"""The thread that sends a spool to MongoDB: each reading once and in order, whatever the server answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.base import unforeseen
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.config.mongo import MongoSettings
from holdfast.mongo import writer as writer_module
from holdfast.mongo.documents import document
from holdfast.mongo.records import SpooledReading
from holdfast.mongo.spool import Spool
from holdfast.mongo.target import Connect, MongoError, MongoErrorKind
from holdfast.mongo.writer import BATCH_READINGS, REFUSED, UP, WAITING, MongoWriter
from tests.logs import limited
from tests.mongo_server import NO_CONNECTION, Connection, MongoServer
from tests.storage.samples import API, message
from tests.waiting import eventually

ORIGIN = (API, "lidar", "Readings")
HERE = MongoSettings("mongodb://here", "sensorData", "readings")
SLOW = MongoError(MongoErrorKind.REFUSED, "it took too long", slow=True)


class Rig:
    """A spool, to which the test appends, and its writer once the test starts it."""

    writer: MongoWriter

    def __init__(self, folder: Path, server: MongoServer) -> None:
        self.spool = Spool(FileSystem(), SystemClock(), str(folder), 0.01, lambda: None)
        self.owned = True
        self.taken = 0
        self._server = server

    def start(self, connect: Connect | None = None) -> None:
        self.writer = MongoWriter(
            self.spool, SystemClock(), HERE, lambda: self.owned, connect or self._server.connect
        )

    async def take(self, count: int) -> None:
        """Takes readings and returns when they are on the disk."""
        for number in range(self.taken, self.taken + count):
            self.spool.append(ORIGIN, message(number, {"seq": number}))
        self.taken += count
        await self.spool.flush()

    @property
    def waiting(self) -> int:
        return self.spool.waiting().readings

    async def all_done(self) -> None:
        await eventually(lambda: not self.waiting)

    async def stop(self) -> None:
        await asyncio.to_thread(self.spool.close)
        await asyncio.to_thread(self.writer.stop)


@pytest.fixture
async def rig(tmp_path: Path, server: MongoServer, quick_retries: None) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, server)
    yield made
    server.may_answer.set()
    await made.stop()


async def test_readings_come_once_and_in_order_in_batches(rig: Rig, server: MongoServer) -> None:
    rig.owned = False
    rig.start()
    await rig.take(2 * BATCH_READINGS + 1)
    rig.owned = True
    await rig.all_done()
    assert server.seqs == list(range(rig.taken))
    assert [len(call) for call in server.calls] == [BATCH_READINGS, BATCH_READINGS, 1]
    counts = rig.spool.counts
    assert (rig.writer.state, counts.written, dict(counts.dropped)) == (UP, rig.taken, {})
    assert rig.writer.tried_s is not None and rig.writer.tried_s <= time.monotonic()


async def test_nothing_is_sent_while_the_folder_is_somebody_elses(rig: Rig, server: MongoServer) -> None:
    rig.owned = False
    rig.start()
    await rig.take(3)
    await eventually(lambda: rig.writer.state == WAITING)
    assert (server.connections, rig.waiting) == ([], 3)
    rig.owned = True
    await rig.all_done()
    assert server.seqs == [0, 1, 2]


@pytest.mark.parametrize("kind", MongoErrorKind)
async def test_what_is_not_confirmed_is_sent_again_with_the_same_names_until_it_is(
    kind: MongoErrorKind, rig: Rig, server: MongoServer
) -> None:
    server.faults.extend((MongoError(kind, "not now"), written) for written in (0, 7, 10))
    rig.start()
    await rig.take(10)
    await rig.all_done()
    assert server.seqs == list(range(10))
    assert len(server.calls) == 4 and len({tuple(call) for call in server.calls}) == 1
    assert rig.spool.counts.written == 10


async def test_while_nothing_is_taken_the_state_says_why_and_readings_wait(rig: Rig, server: MongoServer) -> None:
    server.fault = NO_CONNECTION
    rig.start()
    await rig.take(10)
    await eventually(lambda: len(server.calls) > 5)
    assert (rig.writer.state, rig.writer.why, rig.waiting) == ("no connection", "nobody there", 10)
    await rig.take(5)
    server.fault = None
    await rig.all_done()
    assert server.seqs == list(range(15))
    assert (rig.writer.state, rig.writer.why) == (UP, "")


async def test_a_batch_of_which_nothing_is_heard_is_halved_and_grows_again(rig: Rig, server: MongoServer) -> None:
    rig.owned = False
    server.faults.extend([(SLOW, 0)] * 3)
    rig.start()
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
    rig.start()
    await rig.take(100)
    rig.owned = True
    await rig.all_done()
    assert [len(call) for call in server.calls] == [100] * 4


async def test_a_document_that_is_refused_is_counted_and_the_others_are_written(
    rig: Rig, server: MongoServer
) -> None:
    server.refuses = lambda document: document["data"]["readings"]["seq"] in (3, 4)
    rig.start()
    await rig.take(10)
    await rig.all_done()
    assert server.seqs == [0, 1, 2, 5, 6, 7, 8, 9]
    counts = rig.spool.counts
    assert (counts.taken, counts.written, counts.dropped) == (10, 8, {REFUSED: 2})
    assert rig.writer.last_error == "it is not wanted"


async def test_what_is_refused_is_logged_for_each_folder(
    rig: Rig, server: MongoServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuses = lambda document: True
    other = Rig(tmp_path / "other", server)
    for each in (rig, other):
        each.start()
        await each.take(2)
        await each.all_done()
    await other.stop()
    assert len([record for record in limited(caplog) if "can't be stored in MongoDB" in record.message]) == 2


async def test_a_reading_that_can_be_no_document_is_counted_and_the_others_are_written(
    rig: Rig, server: MongoServer
) -> None:
    rig.start()
    await rig.take(2)
    rig.spool.append(ORIGIN, b"\xff")
    await rig.take(2)
    await rig.all_done()
    assert server.seqs == [0, 1, 2, 3]
    counts = rig.spool.counts
    assert (counts.taken, counts.written, counts.dropped) == (5, 4, {"unreadable": 1})


async def test_what_nobody_foresaw_costs_nothing(rig: Rig, server: MongoServer) -> None:
    server.faults.append((ZeroDivisionError("a bug"), 4))
    rig.start()
    await rig.take(10)
    await rig.all_done()
    assert server.seqs == list(range(10))


async def test_a_connection_that_can_not_be_made_is_tried_again(rig: Rig, server: MongoServer) -> None:
    attempts = 0

    def connect(settings: MongoSettings) -> Connection:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise MongoError(MongoErrorKind.UNUSABLE, "no such host")
        return server.connect(settings)

    rig.start(connect)
    await rig.take(5)
    await rig.all_done()
    assert (server.seqs, attempts) == (list(range(5)), 3)


async def test_the_end_waits_for_no_answer_and_what_was_under_way_is_not_taken_for_done(
    rig: Rig, server: MongoServer, tmp_path: Path
) -> None:
    server.may_answer.clear()
    rig.start()
    await rig.take(10)
    await eventually(lambda: server.calls)
    await asyncio.wait_for(rig.stop(), 20)  # while the call and `close` wait for an answer
    assert not server.connections[0].closed.is_set()
    server.may_answer.set()
    await eventually(server.connections[0].closed.is_set)
    await eventually(lambda: "holdfast-mongo" not in [thread.name for thread in threading.enumerate()])
    assert rig.waiting == 10
    again = Rig(tmp_path, server)
    again.start()
    await eventually(lambda: again.spool.counts.written == 10)
    await again.stop()
    assert server.seqs == list(range(10))


async def test_the_end_sends_what_can_be_sent_at_once(rig: Rig, server: MongoServer) -> None:
    rig.start()
    for _ in range(3):
        await rig.take(1)
    await rig.stop()
    assert server.seqs == [0, 1, 2]
    assert server.connections[0].closed.is_set()


async def test_a_reading_that_breaks_the_program_stops_no_other(
    rig: Rig, server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fragile(reading: SpooledReading) -> bytes:
        return document(reading) if reading.number != 3 else bytes(1 // 0)

    monkeypatch.setattr(writer_module, "document", fragile)
    await rig.take(10)
    rig.start()
    await rig.all_done()
    assert server.seqs == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert dict(rig.spool.counts.dropped) == {unforeseen.REASON: 1}
