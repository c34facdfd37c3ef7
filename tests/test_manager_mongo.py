"""Capture to MongoDB under the manager: changes of the config lose no document and repeat none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast import manager as manager_module
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.base.presentable import presentable
from holdfast.commands import run_command
from holdfast.config import Host, parse
from holdfast.manager import Manager, Resources
from holdfast.mongo import MongoCapture, writer
from holdfast.status import status
from holdfast.storage.lock import FolderLock

from .mongo_server import NO_CONNECTION, MongoServer
from .test_manager import SENSOR, CountingClient
from .waiting import eventually

URI = "mongodb://here"
_HZ = 200


class Machine:
    def __init__(self, folder: Path, client: CountingClient) -> None:
        self.client = client
        self._environment = {"HOME": str(folder)}
        self._folder = folder
        self.manager = Manager(self._environment, FileSystem(), SystemClock())

    def apply(self, **attributes: Any) -> None:
        config = parse(
            {
                "capture_dir": str(self._folder / "capture"),
                "sync_disabled": True,
                "capture_flush_interval_ms": 20.0,
                "mongo_capture_config": {"uri": URI},
                "capture_methods": [{"name": "a", "method": "Readings", "capture_frequency_hz": _HZ}],
                **attributes,
            },
            Host.of(self._environment),
        )
        self.manager.apply(config, Resources({"a": SENSOR}, self.client))

    async def served(self, count: int) -> None:
        target = self.client.served.get("a", 0) + count
        await eventually(lambda: self.client.served.get("a", 0) >= target)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> MongoServer:
    made = MongoServer()
    monkeypatch.setattr(manager_module, "MongoCapture", partial(MongoCapture, connect=made.connect))
    monkeypatch.setattr(writer, "RETRY_MOST_S", 0.05)
    return made


@pytest.fixture
async def machine(tmp_path: Path, server: MongoServer) -> AsyncIterator[Machine]:
    made = Machine(tmp_path, CountingClient())
    yield made
    await made.manager.stop()


CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "the collector's tags": {"tags": ["x"]},
    "the collection": {"mongo_capture_config": {"uri": URI, "collection": "others"}},
    "the address": {"mongo_capture_config": {"uri": "mongodb://there"}},
    "the flush interval": {"capture_flush_interval_ms": 50.0},
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_of_the_config_loses_no_document_and_repeats_none(
    change: str, machine: Machine, server: MongoServer
) -> None:
    machine.apply()
    for attributes in (CHANGES[change], {}, CHANGES[change]):
        await machine.served(20)
        await machine.manager.hand_over()
        machine.apply(**attributes)
    await machine.served(20)
    await machine.manager.stop()
    assert server.seqs == list(range(1, machine.client.served["a"] + 1))


async def captured_without_a_server(machine: Machine, server: MongoServer, **change: Any) -> None:
    """Returns when readings wait for MongoDB from before and after a change of the config."""
    server.fault = NO_CONNECTION
    machine.apply()
    await machine.served(20)
    await machine.manager.hand_over()
    machine.apply(**change)
    await machine.served(20)


async def test_what_waits_for_a_server_that_is_away_goes_through_a_hand_over_and_a_restart(
    machine: Machine, server: MongoServer, tmp_path: Path
) -> None:
    await captured_without_a_server(machine, server, tags=["x"])
    await machine.manager.stop()
    assert server.seqs == []
    server.fault = None
    again = Machine(tmp_path, machine.client)
    again.apply()
    await again.served(20)
    await eventually(lambda: len(server.documents) > 60)
    await again.manager.stop()
    assert server.seqs == list(range(1, machine.client.served["a"] + 1))


async def test_readings_of_a_folder_that_is_left_reach_mongo_too(
    machine: Machine, server: MongoServer, tmp_path: Path
) -> None:
    await captured_without_a_server(machine, server, capture_dir=str(tmp_path / "another"))
    server.fault = None
    await eventually(lambda: len(server.documents) > 30)
    await machine.manager.stop()
    assert sorted(server.seqs) == list(range(1, machine.client.served["a"] + 1))


async def test_a_reading_on_request_reaches_mongo_too(machine: Machine, server: MongoServer) -> None:
    machine.apply(capture_methods=[{"name": "a", "method": "Readings", "disabled": True}])
    command = {"command": "capture_now", "resource": "a", "method": "Readings", "sync": False}
    assert (await run_command(machine.manager, command))["readings"] == 1
    await eventually(lambda: server.seqs == [1])


async def test_the_status_tells_no_count_that_is_not_known(machine: Machine, tmp_path: Path) -> None:
    def told() -> dict[str, Any]:
        found: dict[str, Any] = presentable(status(machine.manager))["mongo"]
        return found

    other = FolderLock(FileSystem(), str(tmp_path / "capture"))
    (tmp_path / "capture").mkdir()
    assert other.try_acquire()
    machine.apply()
    await machine.served(5)
    await eventually(lambda: told()["state"] == "waiting for the capture folder")
    assert told()["taken"] >= 5 and not {"found", "waiting_readings", "waiting_bytes"} & told().keys()
    other.release()
    await eventually(lambda: told()["state"] == "up")
    assert told()["found"] == 0 and told()["tried_age_s"] >= 0
    machine.apply(mongo_capture_config={})
    assert told() == {"state": "off", "why": "", "last_error": ""}
