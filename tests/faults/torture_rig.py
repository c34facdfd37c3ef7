"""`TortureRig` is the machine of the torture: a real viam-server, a link and a disk that fail, and all accounts.

It captures two sensors (the second one at times) and a camera, and syncs a folder of arbitrary files. The faults
act through it, so that the accounts know of them.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from grpclib.exceptions import GRPCError, StreamTerminatedError
from viam.proto.app.datasync import (
    FileUploadRequest,
    SensorData,
    SensorMetadata,
    UploadMetadata,
)

from demo.link import Link
from tests.e2e.machines import MODULE, PART_ID, Machine, Status, until

from .account import Account
from .calls import SECOND_NS, SLACK_NS, Calls, Interruption
from .disks import Disk
from .faked_clock import FakedClock
from .file_account import FileAccount
from .labels import Labels, Tags
from .mongo_side import MongoSide, miscounted
from .rigs import (
    FLUSH_INTERVAL_MS,
    HZ,
    SENSOR,
    SERVER_FILE_BYTES,
    ServerRig,
    attributes,
    left,
    on_disk,
)
from .ruin import Ruined
from .sources import CAMERA, accounts, methods, sources

UP_TIMEOUT_S = 60.0
_DRAIN_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 2.0
_EXAMPLES = 3
_ANSWERS_BYTES, _UPLOADS_BYTES = 10_000, 1_600_000
"""The most bytes that a slow link holds, on the way to the module and to the cloud."""
_LONGEST_LAG_S = 8.0
"""The longest time for which anything is under way, since no link is slow for longer."""
_ORDERLY_S = 9.0
"""The most time of an orderly end; viam-server gives its modules ten seconds."""
_SUM_TIMEOUT_S = 20.0
_FLUSH_NS = FLUSH_INTERVAL_MS * SECOND_NS // 1000
_AWAY = (GRPCError, StreamTerminatedError, OSError, KeyError)
Config = dict[str, Any]


class TortureRig(ServerRig):
    """A machine with its accounts: `start` it, run the faults, then `finish` and `stop` it."""

    def __init__(
        self,
        folder: Path,
        binary: Path,
        calls: Calls,
        disk: Disk | None,
        mongo: MongoSide | None = None,
        clock: FakedClock | None = None,
    ) -> None:
        self.calls = calls
        self.disk = disk
        self.mongo = mongo
        self.clock = clock
        self.tags = Tags()
        self.accounts = accounts(calls, self.tags)
        self.files = FileAccount(folder / "files", calls, Labels(self.tags, part_id=PART_ID))
        super().__init__(folder, binary, self._note_reading, self.files.note_file, self._note_payload)
        self.sources = sources(folder, self.source)
        self.capture_dir = disk.folder / "captured" if disk else folder / "captured"
        self.other_dir = folder / "elsewhere"
        self.link: Link
        self.trouble = False
        """Whether a fault of the link lasts now."""
        self.code: grpc.StatusCode | None = None
        """The status code with which every upload is answered; None: uploads are accepted."""
        self.refused = 0
        """The number of uploads that were answered with a `code`."""
        self.when_sent: Callable[[str], None] | None = None
        """Called with the name of each arbitrary file when its upload begins."""
        self.config: Config = {"elsewhere": False, "second_hz": 20.0, "tags": []}
        """The part of the config that faults change."""
        self.ruined: list[Ruined] = []
        self.wrong: list[str] = []
        self._ended_ns = 0

    async def start(self) -> None:
        await self.cloud.start()
        self.cloud.before_answer = self.calls.before_answer
        self.cloud.fail_while = self._fail_while
        self.link = Link(urlsplit(self.cloud.address).port or 0)
        await self.link.start()
        self.machine = Machine(self.server, self.cloud, self.folder, connected=False)
        if self.clock is not None:
            self.machine.module_env = self.clock.environment
            for account in self.accounts.values():
                account.offsets_ns = self.clock.offsets_ns
        if self.mongo is not None:
            await self.mongo.start()
        await self.machine.start(
            components=[source.component for source in self.sources.values()],
            **attributes(self.capture_dir, self.cloud, SERVER_FILE_BYTES)
            | {"cloud_address": self.link.address, "additional_sync_paths": [str(self.files.folder)]}
            | (self.mongo.config if self.mongo is not None else {})
            | self._changing(),
        )
        await self.until_captures(0, UP_TIMEOUT_S)

    @property
    def ended_ns(self) -> int:
        """When the end of capture was requested; the present time if it was not."""
        return self._ended_ns or time.time_ns()

    def reconfigure(self, **changes: Any) -> None:
        self.config |= changes
        self.tags.change(self.config["tags"])
        self.machine.change(**self._changing())

    def _changing(self) -> dict[str, Any]:
        return {
            "capture_dir": str(self.other_dir if self.config["elsewhere"] else self.capture_dir),
            "tags": self.config["tags"],
            "capture_methods": methods(self.config["second_hz"]),
        }

    def _note_reading(self, about: UploadMetadata, message: SensorData) -> None:
        if about.component_name != CAMERA:  # its payloads are noted instead
            self._account_of(about).note_reading(about, message)

    def _note_payload(self, about: UploadMetadata, times: SensorMetadata, path: Path) -> None:
        self._account_of(about).note_payload(about, times, path)

    def _account_of(self, about: UploadMetadata) -> Account:
        return self.accounts.get(about.component_name, self.accounts[SENSOR])  # it judges strangers

    def _fail_while(self, method: str, request: bytes | None) -> grpc.StatusCode | None:
        if method == "Authenticate":
            self.calls.note_login()
            return None
        if method == "FileUpload" and self.when_sent is not None:
            self.when_sent(Path(FileUploadRequest.FromString(request or b"").metadata.file_name).name)
        self.refused += self.code is not None
        return self.code

    def note(self, kind: str, **more: Any) -> None:
        self.calls.interruptions.append(
            Interruption(len(self.calls.interruptions) + 1, kind, time.time_ns(), **{"exposure_ns": 0, **more})
        )

    async def kill_now(self, kind: str) -> bool:
        """Sends SIGKILL to the processes that exist; returns when viam-server is up again, if it died.

        Returns False when there was nothing to kill.

        The module is killed alone only when it serves: if it dies between opening its socket and answering `Ready`,
        viam-server 1.4.0 gives it up for good ("abandoning restart attempt").
        """
        if kind == "module":
            await self.machine.until_status(
                lambda status: int(status["process"]["pid"]) in self._module_pids(),
                "the module serves",
                UP_TIMEOUT_S,
            )
        pids = self._module_pids()
        if kind == "module" and not pids:
            return False
        lag_ns, held_ns = self._lag_ns(_ANSWERS_BYTES), self._lag_ns(_UPLOADS_BYTES)
        until_ns = time.time_ns() + held_ns if held_ns else 0
        # When viam-server alone dies, the module has time to write everything down.
        exposure_ns = 0 if kind == "server" else _FLUSH_NS
        self.note(kind, exposure_ns=exposure_ns, lag_ns=lag_ns, until_ns=until_ns)
        if kind in ("module", "both"):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if kind in ("server", "both"):
            self.server.sigkill()
        self.see_what_is_on_disk()
        if kind in ("server", "both"):
            orphans = set(self._module_pids())
            await self.machine.start_again()
            await self._ended(lambda: not orphans & set(self._module_pids()), "a module without its viam-server")
        return True

    async def restart(self) -> None:
        """Restarts viam-server in order, which costs nothing, and sends nothing twice while the link works."""
        begin_ns = time.time_ns()
        troubled = self.trouble
        await self._end_orderly()
        await self.machine.stop()  # the sensors' module of a killed viam-server lives on for a while
        if troubled:
            self.calls.interruptions.append(
                Interruption(0, "stop", begin_ns, 0, is_kill=False, until_ns=time.time_ns())
            )
        await self.machine.start_again()

    async def _end_orderly(self) -> None:
        """Sends SIGTERM to viam-server: the module must end before viam-server kills it, and leave no process."""
        began_s = time.monotonic()
        await self.machine.disconnect()
        self.server.sigterm()
        await self.server.wait_exit()
        if (took_s := time.monotonic() - began_s) > _ORDERLY_S:
            self.wrong.append(f"an orderly end took {took_s:.1f} s: viam-server had to kill")
        await self._ended(lambda: not self._module_pids(), "the module of a viam-server that was asked to end")

    async def _ended(self, ended: Callable[[], bool], who: str) -> None:
        try:
            await until(ended, f"{who} ends", _END_TIMEOUT_S)
        except AssertionError:
            left = {pid: self.server.command_of(pid) for pid in self._module_pids()}
            self.wrong.append(f"{who}, or what it started, lives on after {_END_TIMEOUT_S:g} s: {left}")

    def _module_pids(self) -> list[int]:
        return self.server.module_pids(MODULE)

    def _lag_ns(self, held_bytes: int) -> int:
        """Returns how long so many bytes may be under way on the link in its present state."""
        if not (self.link.delay_s or self.link.bytes_per_s):
            return 0
        queue_s = held_bytes / self.link.bytes_per_s if self.link.bytes_per_s else 0.0
        return int(min(2 * self.link.delay_s + queue_s, _LONGEST_LAG_S) * SECOND_NS)

    def see_what_is_on_disk(self) -> None:
        for folder in (self.capture_dir, self.other_dir):
            for (resource, seq), tags in on_disk(folder, [each.path for each in self.ruined]).items():
                if resource in self.accounts:
                    self.accounts[resource].on_disk.add(seq)
                    self.accounts[resource].tags_on_disk[seq] = tags

    def complete_files(self) -> list[Path]:
        """Returns the complete capture files to which no fault has done anything yet."""
        known = {each.path for each in self.ruined}
        return [
            path
            for folder in (self.capture_dir, self.other_dir)
            for path in sorted(folder.rglob("*.capture"))
            if path not in known and path.relative_to(folder).parts[0] != "failed"
        ]

    async def fill_disk(self) -> Callable[[], Any]:
        """Fills the disk once the module has written all counts to it, and returns what frees it.

        What frees it also waits, until the module has written all counts again.
        """
        assert self.disk is not None
        await self._until_kept()
        begin_ns = time.time_ns() - _FLUSH_NS - SLACK_NS
        self.disk.fill()

        async def free() -> None:
            assert self.disk is not None
            await self.disk.free()
            for account in self.accounts.values():
                account.full_ns.append((begin_ns, time.time_ns() + SLACK_NS))
            await self._until_kept()

        return free

    async def _until_kept(self) -> None:
        """Returns when the counts of everything until now are in the journal. Raises AssertionError."""
        before = await self.machine.until_status(
            lambda status: status["sync"]["recovery"].startswith("done"), "the folder is the module's", UP_TIMEOUT_S
        )
        uptime_s = before["process"]["uptime_s"] + 3 * FLUSH_INTERVAL_MS / 1000
        await self.machine.until_status(
            lambda status: (
                status["process"]["uptime_s"] > uptime_s and status["ledger"]["state"].startswith("kept")
            ),
            "the ledger is kept in its journal",
            UP_TIMEOUT_S,
        )

    async def finish(self) -> Status:
        """Ends capture, waits until every reading has its fate, and ends viam-server in an orderly way.

        Returns the last status. Raises AssertionError when something is never delivered.
        """
        status = await self._until_all_has_its_fate()
        await self._end_orderly()
        return status

    async def _until_all_has_its_fate(self) -> Status:
        self.reconfigure(elsewhere=False)
        self._ended_ns = time.time_ns()
        everywhere = methods(second_hz=HZ, capture_directory=str(self.other_dir))
        self.machine.change(capture_disabled=True, capture_methods=everywhere)
        await self.machine.until_status(
            lambda status: not status["capture"]["enabled"] and not status["capture"]["buffered_bytes"],
            "capture is disabled",
            UP_TIMEOUT_S,
        )

        await self._look_at_the_counts_for_mongo()
        await self._until_mongo_has_what_lies_elsewhere()

        async def nothing_is_left() -> bool:
            with contextlib.suppress(*_AWAY):
                await self.machine.sync()
            return not self.left() and not self.files.there

        try:
            await until(nothing_is_left, "everything is delivered or in quarantine", _DRAIN_TIMEOUT_S)
        except AssertionError as error:
            rest = [*self.files.there, *self.left()]
            raise AssertionError(f"{error}; {len(rest)} files are left, such as {rest[:_EXAMPLES]}") from error
        await self.machine.until_status(
            lambda status: status["mongo"].get("waiting_readings") == 0, "MongoDB has everything", _DRAIN_TIMEOUT_S
        )
        with contextlib.suppress(AssertionError):  # the account then describes it better
            return await self.machine.until_status(
                lambda status: (
                    status["ledger"]["state"].startswith("kept")
                    and not status["readings"]["on_disk"]
                    and not status["sync"]["in_flight"]
                ),
                "every reading has its fate",
                _SUM_TIMEOUT_S,
            )
        return await self.machine.status()

    async def _look_at_the_counts_for_mongo(self) -> None:
        """Checks the counts for MongoDB of the process that captured; the next process does not have them."""
        with contextlib.suppress(AssertionError):
            await self.machine.until_status(
                lambda status: not miscounted(status["mongo"]), "the sum for MongoDB holds", _SUM_TIMEOUT_S
            )
        self.wrong += miscounted((await self.machine.status())["mongo"])

    async def _until_mongo_has_what_lies_elsewhere(self) -> None:
        """Returns when MongoDB has what waits for it in the other capture folder.

        That is sent only while the folder is the configured one. A new process writes nothing there, so it becomes
        empty.
        """
        if self.mongo is None:
            return
        self.machine.change(capture_dir=str(self.other_dir))
        await self.restart()
        await self._until_captured_in(self.other_dir)
        spool = self.other_dir / ".holdfast" / "mongo"
        await until(
            lambda: not [path for path in spool.glob("*") if path.stem != "acknowledged"],
            "MongoDB has what waits elsewhere",
            _DRAIN_TIMEOUT_S,
        )
        self.machine.change(capture_dir=str(self.capture_dir))
        await self._until_captured_in(self.capture_dir)

    async def _until_captured_in(self, folder: Path) -> None:
        await self.machine.until_status(
            lambda status: status["capture"]["capture_dir"] == str(folder), f"{folder} is used", UP_TIMEOUT_S
        )

    def left(self) -> list[str]:
        """Returns what is in the capture folders and is neither the module's own state nor in quarantine."""
        return [
            f"{folder.name}/{name}"
            for folder in (self.capture_dir, self.other_dir)
            for name in left(folder)
            if not name.startswith("failed/")
        ]

    def misplaced(self) -> list[str]:
        """Returns what should be in quarantine and is not, and what is there and should not be."""
        wrong, known = [], set()
        for each in self.ruined:
            folder = next(f for f in (self.capture_dir, self.other_dir) if each.path.is_relative_to(f))
            kept = folder / "failed" / each.path.relative_to(folder)
            cause = kept.with_name(kept.name + ".cause.json")
            known |= {kept, cause}
            account = self.accounts[each.resource]
            arrived = {reading.seq for reading in account.arrived}
            if set(each.seqs) & account.damaged - arrived and not (kept.exists() and cause.exists()):
                wrong.append(f"damaged and not in quarantine: {each}")
        for folder in (self.capture_dir, self.other_dir):
            found = {path for path in (folder / "failed").rglob("*") if not path.is_dir()}
            wrong += [f"in quarantine and not damaged: {path}" for path in sorted(found - known)]
        return wrong

    async def stop(self) -> None:
        if self.disk is not None:
            await self.disk.free()
        await self.machine.disconnect()
        await self.server.stop()
        await self.link.stop()
        if self.mongo is not None:
            await self.mongo.stop()
        await self.cloud.stop()


def pick(rng: random.Random, paths: list[Path]) -> Path | None:
    return rng.choice(paths) if paths else None
