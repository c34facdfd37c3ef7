"""How much lies in quarantine, for the status: known without a look at the disk.

Counted anew a moment after the ledgers have counted a change there, and every `AGAIN_S` in case somebody else made
one; but at most `MOST_COUNTING` of the time goes into it, however much there is. One task, `run`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.intervals import rest_s
from ..errors import StorageError
from ..storage.quarantine.listing import quarantined_files
from ..storage.store import Store

LOOK_S = 2.0
AGAIN_S = 600.0
MOST_COUNTING = 0.02


class FailedCount:
    """Of all stores, and of the other sync paths. `files` and `bytes` are None until they are counted."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        stores: Callable[[], Sequence[Store]],
        other_paths: Callable[[], Sequence[str]],
    ) -> None:
        self._disk = files
        self._clock = clock
        self._stores = stores
        self._other_paths = other_paths
        self.files: int | None = None
        self.bytes: int | None = None

    async def run(self) -> None:
        """Counts, for ever."""
        counted: object = None
        again_s = 0.0
        while True:
            now, began_s = self._changes(), self._clock.monotonic()
            if now != counted or began_s >= again_s:
                counted = now
                self.files, self.bytes = await asyncio.to_thread(self._count)
                cost_s = self._clock.monotonic() - began_s
                again_s = began_s + AGAIN_S
                await self._clock.sleep(rest_s(cost_s, MOST_COUNTING))
            await self._clock.sleep(LOOK_S)

    def _changes(self) -> object:
        """Something else once anything was put into quarantine, or taken out."""
        ledgers = [store.ledger for store in self._stores()]
        quarantined = [sum(counts.quarantined for counts in ledger.readings().values()) for ledger in ledgers]
        return (
            [store.root for store in self._stores()],
            tuple(self._other_paths()),
            quarantined,
            [ledger.files.quarantined for ledger in ledgers],
        )

    def _count(self) -> tuple[int, int]:
        files = size_bytes = 0
        for failed in quarantined_files(self._disk, [store.root for store in self._stores()], self._other_paths()):
            with suppress(StorageError):
                size_bytes += self._disk.stat(failed.path).st_size
                files += 1
        return files, size_bytes
