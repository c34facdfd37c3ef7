"""Counts what lies in quarantine, so that the status knows it without a look at the disk.

It is counted again soon after the ledgers note a change there, and every `AGAIN_S`, in case a user made a change.
Counting takes at most `MOST_COUNTING` of the time, however much there is. It has one task, `run`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.intervals import rest_s
from ..base.problems import Kind, Problem
from ..base.words import number_of, size
from ..errors import StorageError
from ..storage.ledger.ledger import Ledger
from ..storage.quarantine.listing import quarantined_files

LOOK_S = 2.0
"""How often the ledgers are asked; that takes no disk."""
AGAIN_S = 600.0
MOST_COUNTING = 0.02


class QuarantineCount:
    """Counts what lies in quarantine in the capture folders and under the other sync paths.

    `files`, `bytes` and `counted_s` are None until they are counted.
    """

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        folders: Callable[[], Sequence[tuple[str, Ledger]]],
        other_paths: Callable[[], Sequence[str]],
    ) -> None:
        """`folders` gives the roots of the capture folders, each with its ledger."""
        self._disk = files
        self._clock = clock
        self._folders = folders
        self._other_paths = other_paths
        self.files: int | None = None
        self.bytes: int | None = None
        self.counted_s: float | None = None
        """When the count began, on the monotonic clock."""

    async def run(self) -> None:
        """Counts whenever it is due. Runs until it is cancelled."""
        counted: object = None
        again_s = 0.0
        while True:
            now, began_s = self._changes(), self._clock.monotonic()
            if now != counted or began_s >= again_s:
                counted = now
                roots = [root for root, _ in self._folders()]
                self.files, self.bytes = await asyncio.to_thread(self._count, roots, self._other_paths())
                self.counted_s = began_s
                cost_s = self._clock.monotonic() - began_s
                again_s = began_s + AGAIN_S
                await self._clock.sleep(rest_s(cost_s, MOST_COUNTING))
            await self._clock.sleep(LOOK_S)

    @property
    def problems(self) -> Iterator[Problem]:
        """That something is in quarantine."""
        if self.files:
            readings = sum(ledger.quarantined for _, ledger in self._folders())
            files = number_of(self.files, "file")
            what = f"what can't be delivered is in failed/: {files} ({size(self.bytes or 0)})"
            held = f" with {number_of(readings, 'reading')}" if readings else ""
            do = 'list them with the command "failed", which says why, and retry or discard them'
            yield Problem(Kind.SYNC, what, do, f"{files}{held} not delivered", "failed")

    def _changes(self) -> object:
        """Returns something that differs once anything was put into quarantine, or taken out."""
        folders = self._folders()
        ledgers = [ledger for _, ledger in folders]
        return (
            [root for root, _ in folders],
            tuple(self._other_paths()),
            [ledger.quarantined for ledger in ledgers],
            [ledger.files.quarantined for ledger in ledgers],
        )

    def _count(self, roots: Sequence[str], other_paths: Sequence[str]) -> tuple[int, int]:
        files = size_bytes = 0
        for each in quarantined_files(self._disk, roots, other_paths):
            with suppress(StorageError):
                size_bytes += self._disk.stat(each.path).st_size
                files += 1
        return files, size_bytes
