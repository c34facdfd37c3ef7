"""Crashes for the tests: a death at any change to the disk, the file that it leaves, and a pass of recovery."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.base.at import Identity
from holdfast.base.filesystem import Buffer, FileSystem
from holdfast.errors import StorageError
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.recovery import Recovery, RecoveryReport
from tests.fakes import START_NS, FakeClock

STEM = "2023-11-14T22_13_20.123456Z"


class Killed(BaseException):
    """The end of the process."""


class Mortal(FileSystem):
    """A file system on which the process dies during `life`, instead of the change with the number `dies_at`."""

    def __init__(self, dies_at: int) -> None:
        self.dies_at = dies_at
        self.died = False
        self._done: int | None = None

    @contextmanager
    def life(self) -> Iterator[None]:
        """The body of the `with` statement is the process's life. If it makes enough changes, it dies in there."""
        self._done = 0
        try:
            yield
        except Killed:
            self.died = True
        finally:
            self._done = None

    def _step(self) -> None:
        if self._done is not None:
            self._done += 1
            if self._done == self.dies_at:
                raise Killed

    def create(self, path: str) -> int:
        self._step()
        return super().create(path)

    def write(self, descriptor: int, path: str, data: Buffer) -> None:
        self._step()
        super().write(descriptor, path, data)

    def truncate(self, path: str, size_bytes: int) -> None:
        self._step()
        super().truncate(path, size_bytes)

    def rename(self, source: str, target: str, identity: Identity | None = None) -> None:
        self._step()
        super().rename(source, target, identity)

    def replace(self, path: str, data: bytes) -> None:
        self._step()
        super().replace(path, data)

    def remove(self, path: str, identity: Identity | None = None) -> None:
        self._step()
        super().remove(path, identity)

    def sync(self, folder: str) -> None:
        self._step()


def deaths() -> Iterator[Mortal]:
    """Yields a file system for a death at each change to the disk, and a last one on which nobody dies."""
    for dies_at in itertools.count(1):
        mortal = Mortal(dies_at)
        yield mortal
        if not mortal.died:
            assert dies_at > 2, "there was no death worth a test"
            return


def leave(path: Path, data: bytes, age_s: float = 60.0) -> Path:
    """Writes a file that a crash left `age_s` ago, by the wall time of FakeClock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    written_ns = START_NS - round(age_s * 1e9)
    os.utime(path, ns=(written_ns, written_ns))
    return path


def run(
    tmp_path: Path,
    ledger: Ledger,
    files: FileSystem | None = None,
    is_ours: Callable[[str], bool] = lambda path: False,
) -> RecoveryReport:
    """Runs one pass of recovery, and gives the files their final names."""
    recovery = Recovery(files or FileSystem(), FakeClock(), ledger, str(tmp_path), is_ours)
    for left in recovery:
        with suppress(StorageError):
            left.complete()
    return recovery.result
