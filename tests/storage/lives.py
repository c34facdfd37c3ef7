"""Processes that follow each other on one capture folder, each killed at any of its changes to the disk.

A `Life` is one process. It begins as a start does, plays a list of steps, and ends. A step is the name of a method
of `Life` and a number: `("read", 3)` captures three readings, `("flush", 0)` writes them, `("rm", 0)` empties the
folder. `MortalFileSystem` decides how many changes to the disk the process makes before the kill.

The `World` is what is outside of the process: the folder, the cloud, a person with `rm`, the builtin. It counts
what really happened, and `World.check` compares that with the ledger.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.base.at import Identity
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import Buffer
from holdfast.storage.layout import capture_file_stem
from holdfast.storage.ledger.known_files import Acknowledged
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.quarantine.quarantine import quarantine
from holdfast.storage.quarantine.sidecar import QuarantinedReadings
from holdfast.storage.recovery import Recovery
from holdfast.storage.writing.disk_writer import Appender, DiskWriter
from tests.fakes import FaultyFileSystem

from . import samples
from .ledgers import LIDAR

Step = tuple[str, int]
"""The name of a method of `Life`, and its argument."""
NEVER_S = 3600.0
MAX_BYTES = 700


class Later(SystemClock):
    """A clock that is an hour ahead, so that recovery finds no file that was written to a moment ago."""

    def time_ns(self) -> int:
        return SystemClock.time_ns() + 3600 * 1_000_000_000


class MortalFileSystem(FaultyFileSystem):
    """A file system on which only the first `life` changes happen; later ones do nothing, as after SIGKILL.

    The change at which the process dies is not begun, but of a write `torn_bytes` are written.
    """

    def __init__(self, life: int | None, torn_bytes: int = 0) -> None:
        super().__init__()
        self.changes = 0
        self.dead = False
        self._life = life
        self._torn_bytes = torn_bytes
        self._lock = threading.Lock()

    def _lives(self) -> bool:
        with self._lock:
            if not self.dead and self._life is not None and self.changes >= self._life:
                self.dead = True
            self.changes += not self.dead
            return not self.dead

    def make_folder(self, path: str) -> None:
        if not self.dead:
            super().make_folder(path)

    def create(self, path: str) -> int:
        return super().create(path) if self._lives() else os.open(os.devnull, os.O_WRONLY)

    def write(self, descriptor: int, path: str, data: Buffer) -> None:
        was_dead = self.dead
        if self._lives():
            super().write(descriptor, path, data)
        elif not was_dead:
            os.write(descriptor, data[: self._torn_bytes % (len(data) + 1)])

    def truncate(self, path: str, size_bytes: int) -> None:
        if self._lives():
            super().truncate(path, size_bytes)

    def rename(self, source: str, target: str, identity: Identity | None = None) -> None:
        if self._lives():
            super().rename(source, target, identity)

    def remove(self, path: str, identity: Identity | None = None) -> None:
        if self._lives():
            super().remove(path, identity)

    def replace(self, path: str, data: bytes) -> None:
        if not self.dead:
            super().replace(path, data)

    def open_to_append(self, path: str) -> int:
        return os.open(os.devnull, os.O_WRONLY) if self.dead else super().open_to_append(path)


@dataclass
class World:
    """What is outside of the process, and what really happened there."""

    folder: Path
    made: int = 0
    """Readings that were made, ours and the builtin's. They are numbered from 0."""
    kills: int = 0
    refused: int = 0
    """Readings for which the disk was full."""
    builtin_torn: int = 0
    """Files of the builtin with a torn end."""
    taken: int = 0
    """Readings of ours that the person removed before the cloud had them."""
    delivered: int = 0
    """Readings that the cloud took and that are in the ledger of a process that lived on."""
    in_doubt: int = 0
    """Readings that the cloud took at the moment of the kill; they may be in the journal or not."""
    elsewhere: set[int] = field(default_factory=set)
    """Numbers of readings that the cloud has and that were then quarantined or removed."""
    cloud: list[int] = field(default_factory=list)

    def undelivered(self, ledger: Ledger) -> int:
        """Returns the number of our readings in complete files that the ledger does not know as delivered."""
        count = 0
        for path in samples.files_under(self.folder, ".capture"):
            found = samples.scan(path.read_bytes())
            assert (found.damaged, found.torn_bytes) == ([], 0)
            if found.checked:
                count += len(found.readings) - ledger.acknowledged_of(str(path), path.stat().st_mtime_ns)
        return count

    def quarantined(self) -> int:
        """Returns the number of readings in quarantine."""
        paths = (self.folder / "failed").rglob("*.capture")
        return sum(len(samples.scan(path.read_bytes()).readings) for path in paths)

    def lose(self, readings: Iterable[bytes]) -> None:
        """Notes readings that will not be delivered, though the cloud may have some of them."""
        self.elsewhere |= set(map(samples.number_of, readings)) & set(self.cloud)

    def check(self, ledger: Ledger) -> None:
        """Checks invariant 1 against the folder and the cloud, when nothing is unfinished."""
        counts = ledger.readings().get(LIDAR)
        if counts is None:
            assert (self.undelivered(ledger), self.quarantined(), self.taken, self.delivered) == (0, 0, 0, 0)
            return
        assert counts.unfinished == 0
        assert counts.delivered - self.delivered in (0, self.in_doubt)
        self.delivered, self.in_doubt = counts.delivered, 0
        assert counts.quarantined == self.quarantined()
        assert counts.on_disk + counts.vanished == self.undelivered(ledger) + self.taken
        assert counts.captured + counts.adopted <= self.made
        assert counts.dropped.get("no_space", 0) <= self.refused
        assert counts.dropped.get("torn", 0) <= self.kills + self.builtin_torn
        lying = samples.numbers_under(self.folder)
        assert len(lying) == len(set(lying)) and set(lying) <= set(range(self.made))


class Life:
    """One process: `begin`, then `play` steps until it is killed, then `end`."""

    def __init__(self, world: World, files: MortalFileSystem) -> None:
        self.world = world
        self.files = files
        self.ledger = Ledger(files, str(world.folder))
        self.writer = DiskWriter(files, SystemClock(), self.ledger, str(world.folder), NEVER_S, NEVER_S)
        self._appender: Appender = self.writer.open(samples.metadata(), MAX_BYTES)

    async def begin(self) -> None:
        self.ledger.attach(self.writer.completion.wrote)
        folder = str(self.world.folder)
        for left in Recovery(self.files, Later(), self.ledger, folder, self.writer.is_open):
            self.writer.completion.hand(left.collector, left, counted=True, ours=left.ours)
        await self.writer.completion.settled()
        if not self.files.dead:
            self.world.check(self.ledger)

    async def play(self, steps: Sequence[Step]) -> None:
        for step, count in steps:
            await getattr(self, step)(count)
            if self.files.dead:
                return

    async def end(self) -> None:
        await self.writer.close()
        self.ledger.close()
        self.world.kills += self.files.dead
        if not self.files.dead:
            self.world.check(self.ledger)

    async def read(self, count: int) -> None:
        for _ in range(count):
            self._appender.append(samples.message(self.world.made))
            self.world.made += 1

    async def flush(self, _: int) -> None:
        await self.writer.flush()

    async def complete(self, _: int) -> None:
        await self.writer.complete()

    async def refuse(self, count: int) -> None:
        """Captures readings while the disk is full for a moment. A write of the journal may fail as well."""
        await self.read(count)
        with self.files.failing("write", code=errno.ENOSPC, partial_bytes=count * 10):
            await self.writer.flush()
        self.world.refused += sum(c.dropped.get("no_space", 0) for c in self.ledger.readings().values())

    async def deliver(self, count: int) -> None:
        """Delivers part of the oldest file as `sync.delivery` does: the ledger is written before the file goes."""
        for path in samples.files_under(self.world.folder, ".capture")[:1]:
            found, modified_ns = samples.scan(path.read_bytes()), path.stat().st_mtime_ns
            known = self.ledger.acknowledged_of(str(path), modified_ns)
            part = found.readings[known : known + count]
            if part:
                self.world.cloud += map(samples.number_of, part)
                acknowledged = Acknowledged(known + len(part), modified_ns)
                self.ledger.count_delivered(LIDAR, str(path), acknowledged, len(part), ours=found.checked)
                if self.files.dead:
                    self.world.in_doubt += len(part)
                    return
                self.world.delivered += len(part)
            if known + len(part) == len(found.readings):
                self.files.remove(str(path))
                self.ledger.forget_file(str(path))

    async def quarantine(self, _: int) -> None:
        for path in samples.files_under(self.world.folder, ".capture")[-1:]:
            found = samples.scan(path.read_bytes())
            if found.checked and not self.ledger.acknowledged_of(str(path), path.stat().st_mtime_ns):
                held = QuarantinedReadings(LIDAR, len(found.readings), True)
                quarantine(self.files, self.ledger, str(self.world.folder), str(path), "refused", held=held)
                self.world.lose(found.readings)

    async def builtin(self, count: int) -> None:
        """Leaves a file of the builtin, complete or torn by a crash."""
        readings = samples.messages(count, first=self.world.made)
        self.world.made += count
        data = samples.builtin_file(samples.metadata(), readings)
        torn = count % 2 == 0
        self.world.builtin_torn += torn
        folder = self.world.folder / "rdk_component_sensor" / "lidar" / "Readings"
        folder.mkdir(parents=True, exist_ok=True)
        stem = capture_file_stem(1_600_000_000_000_000_000 + self.world.made * 1000)
        (folder / (stem + (".prog" if torn else ".capture"))).write_bytes(data[:-1] if torn else data)

    async def rm(self, _: int) -> None:
        """Removes all complete files, as a person does, and lets a full walk find that out."""
        waiting = self.writer.completion.collectors()
        for path in samples.files_under(self.world.folder, ".capture"):
            found = samples.scan(path.read_bytes())
            known = self.ledger.acknowledged_of(str(path), path.stat().st_mtime_ns)
            self.world.lose(found.readings[known:])
            if found.checked:
                self.world.taken += len(found.readings) - known
            path.unlink()
        self.ledger.reconcile(self.ledger.readings(), (), waiting)
