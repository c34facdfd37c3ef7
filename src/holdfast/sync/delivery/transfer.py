"""The delivery of a capture file by itself: its calls one after the other, without what the cloud refuses of it.

A call that is refused for good, or is too large, is halved until the reading that is to blame is alone; that one is
left out, by its number, and the others are delivered. What is acknowledged, and what is refused among it, is in the
journal after each call.
"""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack

from ...base.clock import Clock
from ...base.filesystem import FileSystem
from ...base.tasks import in_thread
from ...errors import CloudError, DamagedFileError
from ...storage.capture_files.reader import CaptureReader
from ...storage.ledger.counts import collector_of
from ...storage.ledger.known_files import Acknowledged
from ..cloud.verdicts import Verdict, verdict
from ..found import Outcome
from .calls import MAX_UNARY_BINARY_BYTES, Call, UnaryCall, capture_calls
from .progress import Progress
from .sender import Sender
from .settlement import Scanned, Settlement

MAX_REFUSED = 100
"""How many refused readings of a file are singled out. Beyond that, all of a refused call is left out."""


async def send_capture_file(
    files: FileSystem, clock: Clock, settlement: Settlement, sender: Sender, *, wait: bool
) -> Outcome:
    """Sends what the cloud does not have of a capture file, and settles the file.

    A file with a damaged header goes to quarantine. Raises CloudError, NotConnectedError and StorageError; what was
    acknowledged until then is in the ledger. Belongs to the event loop.
    """
    async with AsyncExitStack() as opened:
        try:
            transfer = await in_thread(_open, files, settlement, sender, opened)
        except DamagedFileError as error:
            return await in_thread(settlement.quarantine_unreadable, str(error))
        progress = Progress(clock, settlement.found.path, settlement.found.size_bytes)
        outcome = await transfer.deliver(progress, wait=wait)
        progress.note_end()
        return outcome


def _open(files: FileSystem, settlement: Settlement, sender: Sender, opened: AsyncExitStack) -> _Transfer:
    transfer = _Transfer(files, settlement, sender)
    opened.push_async_callback(in_thread, transfer.close)
    transfer.read_next()
    return transfer


class _Transfer:
    """A capture file that is open and under way. `close` must be called."""

    def __init__(self, files: FileSystem, settlement: Settlement, sender: Sender) -> None:
        """Opens the file. Raises DamagedFileError for a header that can't be read, and StorageError. Blocks."""
        self._settlement = settlement
        self._sender = sender
        self._reader = CaptureReader(files, settlement.found.path)
        self._collector = collector_of(self._reader.metadata)
        self._acknowledged = max(0, settlement.acknowledged)
        self._refused = list(settlement.refused)
        self._why_refused = "in an earlier attempt"
        rest = itertools.islice(self._reader.contents(MAX_UNARY_BINARY_BYTES), self._acknowledged, None)
        self._calls = capture_calls(self._reader.metadata, rest, sender.part_id)
        self._next: Call | None = None

    def read_next(self) -> None:
        """Reads the next call, for `deliver` to begin with. Raises StorageError. Blocks."""
        self._next = next(self._calls, None)

    def close(self) -> None:
        """Closes the file. Blocks."""
        self._reader.close()

    async def deliver(self, progress: Progress, *, wait: bool) -> Outcome:
        """Sends all calls from the one that `read_next` read, and settles the file. Belongs to the event loop."""
        while self._next is not None:
            await self._deliver_call(self._next, progress, wait)
            await in_thread(self.read_next)
        scanned = Scanned.of(self._reader)
        return await in_thread(self._settlement.settle_capture_file, scanned, self._refused, self._why_refused)

    async def _deliver_call(self, whole: Call, progress: Progress, wait: bool) -> None:
        """Brings the readings of a call to the cloud, but for those that it refuses."""
        pending = [whole]
        while pending:
            call = pending.pop()
            try:
                await self._sender.send_readings(call, progress, wait=wait)
            except CloudError as error:
                meaning = verdict(error)
                if meaning not in (Verdict.QUARANTINE, Verdict.TOO_LARGE):
                    raise
                smaller = self._smaller(call, meaning)
                if smaller:
                    pending += reversed(smaller)
                    continue
                if not self._sender.believes(error, " ".join(self._collector)):
                    raise
                self._why_refused = str(error)
                self._refused += range(self._acknowledged, self._acknowledged + call.readings)
                await in_thread(self._note_acknowledged, call.readings, 0)
            else:
                await in_thread(self._note_acknowledged, call.readings, call.readings)

    def _smaller(self, call: Call, meaning: Verdict) -> list[Call]:
        """Returns what to send in place of a call that was not accepted; nothing when it can't be made smaller."""
        if not isinstance(call, UnaryCall):
            return []
        if call.readings > 1 and len(self._refused) < MAX_REFUSED:
            return list(call.split(call.readings // 2))
        stream = call.as_stream() if meaning is Verdict.TOO_LARGE else None
        return [stream] if stream is not None else []

    def _note_acknowledged(self, readings: int, delivered: int) -> None:
        self._acknowledged += readings
        modified_ns = self._settlement.found.modified_ns
        acknowledged = Acknowledged(self._acknowledged, modified_ns, tuple(self._refused))
        self._settlement.note_delivered(self._collector, acknowledged, delivered, ours=self._reader.checked)
