"""Whatever happens, the sums in one answer of the status agree with one another, and in the end with what was.

A history is a list of steps in any order: the link to the cloud comes and goes, the disk fills, sensors fail, the
cloud and MongoDB refuse, a person removes files, the config changes, the process starts anew. The status is asked
again and again meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.cloud import LocalCloud
from demo.link import Link
from holdfast import manager as manager_module
from holdfast.base.clock import SystemClock
from holdfast.base.presentable import presentable
from holdfast.commands import run_command
from holdfast.config import Host, parse
from holdfast.errors import HoldfastError
from holdfast.manager import Manager, Resources
from holdfast.mongo import MongoCapture, writer
from holdfast.status import status

from .fakes import FaultyFileSystem
from .mongo_server import NO_CONNECTION, MongoServer
from .steered import SENSOR, Resourceful
from .waiting import eventually

NAMES = ("one", "two", "refused")
SUMMANDS = ("captured", "adopted", "delivered", "quarantined", "vanished", "deleted", "on_disk")
HZ = 200.0


class History:
    """One machine, its cloud and its MongoDB. Each step is a method."""

    def __init__(self, folder: Path, mongo: MongoServer) -> None:
        self.folder = folder
        self.mongo = mongo
        self.cloud = LocalCloud(folder / "cloud", api_keys={"id": "key"}, part_id="part")
        self.files = FaultyFileSystem()
        self.client = Resourceful()
        self.environment = {
            "HOME": str(folder),
            "VIAM_API_KEY_ID": "id",
            "VIAM_API_KEY": "key",
            "VIAM_MACHINE_PART_ID": "part",
        }
        self.faults = ExitStack()
        self.is_full = False
        self.counts_lost = False
        """Whether a process ended while its counts could be written to no journal."""
        self.names: tuple[str, ...] = NAMES
        self.refuses = False
        self.link: Link
        self.manager = self._new_process()
        self.answers = 0

    def _new_process(self) -> Manager:
        return Manager(self.environment, self.files, SystemClock())

    async def start(self) -> None:
        await self.cloud.start()
        self.cloud.fail_while = self._refusal
        self.link = Link(int(self.cloud.address.rpartition(":")[2]))
        await self.link.start()
        self.apply()
        await eventually(lambda: self.manager.engine is not None and self.manager.engine.store.owned)

    def _refusal(self, method: str, request: bytes | None) -> grpc.StatusCode | None:
        """What of "refused" the cloud says while it refuses that; it goes on to take the others."""
        refused = self.refuses and request is not None and b"refused" in request
        return grpc.StatusCode.INVALID_ARGUMENT if refused else None

    def apply(self) -> None:
        config = parse(
            {
                "capture_dir": str(self.folder / "capture"),
                "cloud_address": self.link.address,
                "capture_flush_interval_ms": 5,
                "maximum_capture_file_size_bytes": 2000,
                "sync_interval_mins": 0.0005,
                "mongo_capture_config": {"uri": "mongodb://here"},
                "capture_methods": [
                    {"name": name, "method": "Readings", "capture_frequency_hz": HZ} for name in self.names
                ],
            },
            Host.of(self.environment),
        )
        self.manager.apply(config, Resources(dict.fromkeys(NAMES, SENSOR), self.client))

    async def command(self, name: str, **arguments: Any) -> None:
        with suppress(HoldfastError):
            await run_command(self.manager, {"command": name, **arguments})

    async def take(self, step: str) -> None:
        """Carries out one step, and lets the machine work for a moment, while the status is looked at."""
        await getattr(self, step)()
        until_s = asyncio.get_running_loop().time() + 0.03
        while asyncio.get_running_loop().time() < until_s:
            self.look()
            await asyncio.sleep(0.002)

    def look(self) -> Mapping[str, Any]:
        found = presentable(status(self.manager))
        check(found)
        self.answers += 1
        return found

    async def link_goes(self) -> None:
        await self.link.cut()

    async def link_comes(self) -> None:
        await self.link.restore()

    async def disk_fills(self) -> None:
        if not self.is_full:
            self.is_full = True
            self.faults.enter_context(self.files.failing("write", "create", code=errno.ENOSPC, partial_bytes=3))

    async def disk_has_room(self) -> None:
        self.faults.close()
        self.is_full = False

    async def sensor_fails(self) -> None:
        self.client.broken.add("one")

    async def sensor_works(self) -> None:
        self.client.broken.clear()

    async def cloud_refuses(self) -> None:
        self.refuses = True

    async def cloud_accepts(self) -> None:
        self.refuses = False

    async def mongo_goes(self) -> None:
        self.mongo.fault = NO_CONNECTION

    async def mongo_comes(self) -> None:
        self.mongo.fault = None

    async def mongo_refuses_some(self) -> None:
        self.mongo.refuses = lambda document: document["data"]["readings"]["seq"] % 3 == 0

    async def config_changes(self) -> None:
        self.names = self.names[:-1] or NAMES
        self.apply()

    async def service_is_built_anew(self) -> None:
        await self.manager.hand_over()
        self.apply()

    async def process_ends_and_starts(self) -> None:
        self.counts_lost |= self.is_full
        await self.manager.stop()
        self.manager = self._new_process()
        self.apply()

    async def is_synced(self) -> None:
        await self.command("sync", timeout_s=0.05)

    async def is_captured_now(self) -> None:
        await self.command("capture_now", resource="two", method="Readings", sync=False)

    async def is_paused(self) -> None:
        await self.command("pause", what="two")

    async def is_resumed(self) -> None:
        await self.command("resume", what="two")

    async def failed_is_tried_again(self) -> None:
        await self.command("failed", action="retry")

    async def failed_is_discarded(self) -> None:
        await self.command("failed", action="discard", all=True)

    async def a_person_removes_files(self) -> None:
        for path in (self.folder / "capture").rglob("*.capture"):
            with suppress(OSError):
                path.unlink()

    async def end(self) -> None:
        """Mends everything, and compares the counts with what the sensors gave and what is left on the disk."""
        await self.disk_has_room()
        self.refuses, self.mongo.fault, self.names = False, None, ()
        self.apply()
        await self.link.restore()
        await eventually(lambda: not self.look()["readings"]["on_disk"])
        await eventually(lambda: self.look()["mongo"].get("waiting_readings") == 0)
        assert not list((self.folder / "capture" / "rdk").rglob("*.capture"))
        if not self.counts_lost:
            assert self.look()["readings"]["captured"] == sum(self.client.served.values())


def check(found: Mapping[str, Any]) -> None:
    """Checks one answer of the status against itself."""
    rows = found["ledger"]["collectors"]
    for counts in (found["readings"], *rows):
        assert all(counts[name] >= 0 for name in SUMMANDS), counts
        assert counts["captured"] + counts["adopted"] == sum(
            (counts["delivered"], counts["quarantined"], counts["vanished"], counts["deleted"], counts["on_disk"])
        ) + sum(counts["dropped"].values()), counts
    total = found["readings"]
    assert {name: sum(row[name] for row in rows) for name in SUMMANDS} == {name: total[name] for name in SUMMANDS}
    reasons = {reason for row in rows for reason in row["dropped"]}
    assert {reason: sum(row["dropped"].get(reason, 0) for row in rows) for reason in reasons} == total["dropped"]
    by_name = {(row["api"], row["resource"], row["method"]): row for row in rows}
    nothing = {"captured": 0, "delivered": 0, "dropped": {}}
    for each in found["capture"]["collectors"]:
        row = by_name.get((each["api"], each["resource"], each["method"]), nothing)
        assert {name: each[name] for name in nothing} == {name: row[name] for name in nothing}
        assert each["readings"] <= each["captured"]
    mongo = found["mongo"]
    if "found" in mongo:
        gone = mongo["written"] + sum(mongo["dropped"].values())
        assert mongo["taken"] + mongo["found"] == gone + mongo["waiting_readings"]
        assert mongo["waiting_readings"] >= 0
    assert found["not_shown"] == {}
    assert list(nulls(found)) == []


def nulls(value: object) -> Iterator[object]:
    if value is None:
        yield value
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from nulls(each)


STEPS = sorted(
    name
    for name, value in vars(History).items()
    if asyncio.iscoroutinefunction(value) and name not in ("start", "command", "take", "end")
)


async def play(steps: list[str], mongo: MongoServer) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hf-sums-"))
    history = History(folder, mongo)
    try:
        await history.start()
        for step in steps:
            await history.take(step)
        await history.end()
        assert history.answers > len(steps)
    finally:
        history.faults.close()
        await history.manager.stop()
        await history.link.stop()
        await history.cloud.stop()
        shutil.rmtree(folder, ignore_errors=True)


@given(st.lists(st.sampled_from(STEPS), min_size=10, max_size=40))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_sums_of_a_status_agree_whatever_happens(monkeypatch: pytest.MonkeyPatch, steps: list[str]) -> None:
    mongo = MongoServer()
    with monkeypatch.context() as patch:
        patch.setattr(manager_module, "MongoCapture", partial(MongoCapture, connect=mongo.connect))
        patch.setattr(writer, "RETRY_MOST_S", 0.05)
        asyncio.run(play(steps, mongo))
