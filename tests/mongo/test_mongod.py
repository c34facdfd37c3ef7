"""Capture to a real MongoDB: whatever the server does, each reading comes once and in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import bson
import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.config import MongoSettings
from holdfast.mongo import MongoCapture, SpoolPlace
from holdfast.mongo.mongo_client import MongoClient
from holdfast.mongo.target import MongoError, MongoErrorKind
from tests.mongod import DATABASE, ESCAPED, PASSWORD, USER, Mongod
from tests.storage.samples import API, message
from tests.waiting import eventually

FLUSH_S = 0.05
EMPTY = bson.encode({})
ORIGIN = (API, "lidar", "Readings")


class Rig:
    """Capture to MongoDB without collectors: the test appends, every 2 ms when `feeding`."""

    def __init__(self, folder: Path, settings: MongoSettings, owned: bool = True) -> None:
        self.mongo = MongoCapture(FileSystem(), SystemClock())
        self.folder = folder
        self.taken = 0
        self.owned = owned
        self._feeding: asyncio.Task[None] | None = None
        self.configure(settings)

    def configure(self, settings: MongoSettings | None, folder: str = "capture") -> None:
        place = SpoolPlace(str(self.folder / folder), FLUSH_S, lambda: self.owned, lambda: None)
        self.mongo.configure(settings, place)

    def append(self, count: int) -> None:
        assert self.mongo.spool is not None
        for _ in range(count):
            self.mongo.spool.append(ORIGIN, message(self.taken, {"seq": self.taken}))
            self.taken += 1

    def feed(self) -> None:
        async def feed() -> None:
            while True:
                self.append(1)
                await asyncio.sleep(0.002)

        self._feeding = asyncio.get_running_loop().create_task(feed())

    async def starve(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.gather(self._feeding, return_exceptions=True)
            self._feeding = None

    async def all_written(self) -> None:
        await self.starve()
        await eventually(lambda: not self.mongo.report().waiting.readings, 60.0)

    async def until_state(self, state: str) -> None:
        await eventually(lambda: self.mongo.report().state == state, 60.0)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(settings: MongoSettings, owned: bool = True) -> Rig:
        made.append(Rig(tmp_path, settings, owned))
        return made[-1]

    yield make
    for each in made:
        await each.starve()
        await each.mongo.stop()


def settings(mongod: Mongod, request: pytest.FixtureRequest, uri: str = "") -> MongoSettings:
    return MongoSettings(uri or mongod.uri, DATABASE, request.node.name)


Make = Callable[..., Rig]


async def test_readings_from_before_the_server_was_there_arrive(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make
) -> None:
    to = settings(mongod, request)
    mongod.kill()
    made = rig(to)
    made.append(1500)
    await made.until_state("no connection")
    assert made.mongo.report().waiting.readings == 1500
    mongod.start()
    await made.all_written()
    assert mongod.seqs(to.collection) == list(range(1500))
    assert made.mongo.report().counts.written == 1500


async def test_a_server_killed_and_started_again_under_load_has_each_reading_once_and_in_order(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make
) -> None:
    to = settings(mongod, request)
    made = rig(to)
    made.feed()
    for _ in range(3):
        written = made.mongo.report().counts.written
        await eventually(lambda w=written: made.mongo.report().counts.written > w + 50, 60.0)  # type: ignore[misc]
        await asyncio.to_thread(mongod.kill)
        await made.until_state("no connection")
        taken = made.taken
        await eventually(lambda t=taken: made.taken > t + 50)  # type: ignore[misc]
        await asyncio.to_thread(mongod.start)
    await made.all_written()
    assert mongod.seqs(to.collection) == list(range(made.taken))


async def test_a_server_that_stands_still_costs_nothing(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes a batch and does not answer: the batch is sent again, and its documents are there once."""
    monkeypatch.setattr("holdfast.mongo.mongo_client.CALL_TIMEOUT_S", 1.0)
    to = settings(mongod, request)
    made = rig(to)
    made.feed()
    await eventually(lambda: made.mongo.report().counts.written > 50)
    mongod.hold()
    try:
        await made.until_state("no connection")
        taken = made.taken
        await eventually(lambda: made.taken > taken + 100)
    finally:
        mongod.go_on()
    await made.all_written()
    assert mongod.seqs(to.collection) == list(range(made.taken))


async def test_the_end_does_not_wait_for_a_server_that_stands_still(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.mongo.mongo_client.CALL_TIMEOUT_S", 3600.0)
    to = settings(mongod, request)
    made = rig(to)
    made.append(10)
    await made.all_written()
    mongod.hold()
    try:
        made.append(10)
        await eventually(lambda: made.mongo.report().waiting.readings == 10)
        await asyncio.wait_for(made.mongo.stop(), 60.0)  # a call would take an hour
    finally:
        mongod.go_on()
    again = rig(to)
    assert again.mongo.spool is not None
    await eventually(lambda: again.mongo.report().counts.found == 10)
    await again.all_written()
    assert mongod.seqs(to.collection) == list(range(20))


async def test_with_a_wrong_password_readings_wait_until_it_is_right(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "wr%3Ang-" + ESCAPED
    wrong = settings(mongod, request, mongod.uri.replace(ESCAPED, secret))
    with caplog.at_level(logging.DEBUG, "holdfast"):
        made = rig(wrong)
        made.append(100)
        await made.until_state("login refused")
        made.configure(settings(mongod, request))
        await made.all_written()
    assert mongod.seqs(wrong.collection) == list(range(100))
    said = caplog.text + repr(made.mongo.report())
    assert "login refused" in said
    assert not [form for form in (secret, ESCAPED, PASSWORD, "wr:ng") if form in said]


@pytest.mark.parametrize(
    ("uri", "state"),
    [
        (f"mongodb://{USER}:{PASSWORD}@127.0.0.1:1", MongoErrorKind.UNUSABLE),
        (f"mongodb://{USER}:{ESCAPED}@127.0.0.1:nonsense", MongoErrorKind.UNUSABLE),
        (f"mongodb://{USER}:{ESCAPED}@127.0.0.1:1/?tls=perhaps", MongoErrorKind.NO_CONNECTION),
        (f"mongodb://{USER}:{ESCAPED}@127.0.0.1:1/?tls=true&tlsCAFile=/nowhere", MongoErrorKind.UNUSABLE),
        (f"mongodb://{USER}:{ESCAPED}@127.0.0.1:1/?authMechanism=NONE", MongoErrorKind.NO_CONNECTION),
        (f"mongodb+srv://{USER}:{ESCAPED}@nowhere.invalid", MongoErrorKind.UNUSABLE),
        (f"mongodb://{USER}:{ESCAPED}@127.0.0.1:1", MongoErrorKind.NO_CONNECTION),
        (f"mongodb://127.0.0.1:1/?tlsCertificateKeyFilePassword={ESCAPED}&tls=true", MongoErrorKind.NO_CONNECTION),
    ],
)
def test_no_error_shows_the_password(uri: str, state: MongoErrorKind) -> None:
    with pytest.raises(MongoError) as caught:
        MongoClient(MongoSettings(uri)).insert([EMPTY])
    said = f"{caught.value}{caught.value!r}"
    assert caught.value.__cause__ is None
    assert not [form for form in (PASSWORD, ESCAPED, "nobody-sees") if form in said], said
    assert caught.value.kind is state


@pytest.mark.parametrize("name", ["a b", "a.b", "a/b"])
def test_a_database_that_can_not_be_is_not_usable(name: str) -> None:
    with pytest.raises(MongoError) as caught:
        MongoClient(MongoSettings("mongodb://127.0.0.1:1", database=name)).insert([EMPTY])
    assert caught.value.kind is MongoErrorKind.UNUSABLE


async def test_a_document_that_the_server_refuses_costs_itself_alone(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make
) -> None:
    to = settings(mongod, request)
    collection = mongod.collection(to.collection)
    collection.database.create_collection(
        to.collection, validator={"data.readings.seq": {"$not": {"$mod": [100, 7]}}}
    )
    made = rig(to)
    made.append(1000)
    await made.all_written()
    assert mongod.seqs(to.collection) == [seq for seq in range(1000) if seq % 100 != 7]
    report = made.mongo.report()
    assert (report.counts.written, dict(report.counts.dropped)) == (990, {"refused": 10})
    assert "validation" in (report.last_error or "")


async def test_a_unique_index_of_the_users_refuses_and_does_not_count_as_written(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make
) -> None:
    to = settings(mongod, request)
    mongod.collection(to.collection).create_index("component_name", unique=True)
    made = rig(to)
    made.append(10)
    await made.all_written()
    assert mongod.seqs(to.collection) == [0]
    assert dict(made.mongo.report().counts.dropped) == {"refused": 9}


async def test_a_reading_larger_than_a_document_may_be_costs_itself_alone(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make
) -> None:
    to = settings(mongod, request)
    made = rig(to)
    assert made.mongo.spool is not None
    made.append(2)
    made.mongo.spool.append(ORIGIN, message(0, {"text": "x" * (17 * 1024 * 1024)}))
    await made.mongo.spool.flush()  # both at once are more than the spool's memory takes
    made.mongo.spool.append(ORIGIN, message(0, {"text": "x" * (15 * 1024 * 1024), "seq": 2}))
    made.taken = 3
    made.append(2)
    await made.all_written()
    assert mongod.seqs(to.collection) == list(range(5))
    assert dict(made.mongo.report().counts.dropped) == {"too_large": 1}


async def test_a_batch_of_which_nothing_was_heard_is_there_once(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make, tmp_path: Path
) -> None:
    """A lost answer and a crash leave documents in the collection whose readings are not done."""
    to = settings(mongod, request)
    made = rig(to, False)
    made.append(600)
    assert made.mongo.spool is not None
    await made.mongo.spool.flush()
    spooled = Path(made.mongo.spool.folder)
    await made.mongo.stop()
    left = {path.name: path.read_bytes() for path in spooled.iterdir()}

    first = rig(to)
    await eventually(lambda: first.mongo.report().counts.written == 600)
    await first.mongo.stop()
    mongod.collection(to.collection).delete_many({"data.readings.seq": {"$gte": 450}})
    for name, data in left.items():
        (spooled / name).write_bytes(data)
    (spooled / "acknowledged.prog").unlink()

    second = rig(to)
    await eventually(lambda: second.mongo.report().counts.written == 600)
    assert mongod.seqs(to.collection) == list(range(600))


async def test_a_change_of_the_collection_loses_and_repeats_nothing(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make
) -> None:
    to = settings(mongod, request)
    made = rig(to)
    made.feed()
    await eventually(lambda: made.mongo.report().counts.written > 50)
    made.configure(MongoSettings(to.uri, DATABASE, to.collection + "2"))
    taken = made.taken
    await eventually(lambda: made.taken > taken + 100)
    await made.all_written()
    before, after = mongod.seqs(to.collection), mongod.seqs(to.collection + "2")
    assert before + after == list(range(made.taken))
    assert len(before) >= 50
    assert len(after) >= 100


async def test_without_a_config_what_waits_stays_for_the_next_one(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make
) -> None:
    to = settings(mongod, request)
    made = rig(settings(mongod, request, "mongodb://127.0.0.1:1"))
    made.append(100)
    await made.until_state("no connection")
    made.configure(None)
    assert made.mongo.spool is None
    assert made.mongo.report().state == "off"
    made.configure(to)
    made.append(10)
    await eventually(lambda: made.mongo.report().counts.written == 110)
    assert mongod.seqs(to.collection) == list(range(110))


async def test_what_waits_in_the_folder_before_is_sent_from_there(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make, tmp_path: Path
) -> None:
    nowhere = settings(mongod, request, "mongodb://127.0.0.1:1")
    made = rig(nowhere)
    made.append(100)
    await made.until_state("no connection")
    made.configure(nowhere, "other")
    made.append(100)
    made.configure(settings(mongod, request), "other")
    await asyncio.wait_for(made.mongo.drained(str(tmp_path / "capture")), 30.0)
    await made.mongo.release(str(tmp_path / "capture"))
    await made.all_written()
    assert sorted(mongod.seqs(nowhere.collection)) == list(range(200))
    left = [path.name for path in (tmp_path / "capture/.holdfast/mongo").iterdir()]
    assert left == ["acknowledged.prog"]


async def test_nothing_is_sent_while_the_folder_is_another_processs(
    mongod: Mongod, request: pytest.FixtureRequest, rig: Make
) -> None:
    to = settings(mongod, request)
    made = rig(to, False)
    await made.until_state("waiting for the capture folder")
    made.append(10)
    assert made.mongo.spool is not None
    await made.mongo.spool.flush()
    made.owned = True
    await made.all_written()
    assert mongod.seqs(to.collection) == list(range(10))


def test_the_server_knows_us_by_name_and_confirms_what_its_journal_has(
    mongod: Mongod, request: pytest.FixtureRequest
) -> None:
    admin = mongod.collection("x").database.client.admin
    admin.client[DATABASE].command("profile", 2)
    try:
        for number, options in enumerate(("", "&w=0", "&journal=false", "&w=1&wtimeoutMS=1000")):
            to = MongoSettings(mongod.uri + options, DATABASE, f"{request.node.name}{number}")
            client = MongoClient(to)
            client.insert([EMPTY])
            client.close()
            query = {"op": "insert", "ns": f"{DATABASE}.{to.collection}"}
            (seen,) = list(mongod.collection("system.profile").find(query))
            assert seen["appName"] == "holdfast"
            assert seen["command"]["apiVersion"] == "1"
            assert seen["command"]["writeConcern"]["j"] is True
            assert seen["command"]["writeConcern"].get("w") != 0
    finally:
        admin.client[DATABASE].command("profile", 0)
