"""The delivery of a capture file by itself: its calls one after the other, without what the cloud refuses of it.

A call that is refused for good, or is too large, is halved until the reading that is to blame is alone; that one is
left out, by its number, and the others are delivered, once it is believed that the cloud refuses just that one
(`cloud.refusals`). What is acknowledged, and what is refused among it, is in the journal after each call.
"""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack

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
MAX_IN_DOUBT = 10
"""After how many refused readings in a row the file is tried again later, if nothing else is accepted either."""


async def send_capture_file(files: FileSystem, settlement: Settlement, sender: Sender, *, wait: bool) -> Outcome:
    """Sends what the cloud does not have of a capture file, and settles the file.

    A file with a damaged header goes to quarantine. Raises CloudError, NotConnectedError and StorageError; what was
    acknowledged until then is in the ledger. Belongs to the event loop.
    """
    async with AsyncExitStack() as opened:
        try:
            transfer = await in_thread(_open, files, settlement, sender, opened)
        except DamagedFileError as error:
            return await in_thread(settlement.quarantine_unreadable, str(error))
        with sender.pace.upload(settlement.found.path, settlement.found.size_bytes) as progress:
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
        """Brings the readings of a call to the cloud, but for those that it refuses.

        Those of which that is not believed yet are in doubt; if what follows them is accepted, they are sent again.
        """
        pending, in_doubt = [whole], list[Call]()
        while pending:
            call = pending.pop()
            error = await self._send(call, progress, wait)
            if error is None:
                await self._decide(in_doubt, progress, wait)
                await in_thread(self._note_acknowledged, call.readings, call.readings)
            elif smaller := self._smaller(call, verdict(error)):
                self._sender.note_refusal(self._settlement.found)
                pending += reversed(smaller)
            elif self._is_believed(error):
                await self._decide(in_doubt, progress, wait)
                await self._leave_out(call, error)
            else:
                in_doubt.append(call)
                if not pending or len(in_doubt) > MAX_IN_DOUBT:
                    raise error

    async def _decide(self, in_doubt: list[Call], progress: Progress, wait: bool) -> None:
        """Sends what is in doubt again, now that the cloud has accepted something since, and empties the list."""
        while in_doubt:
            call = in_doubt[0]
            error = await self._send(call, progress, wait)
            if error is None:
                await in_thread(self._note_acknowledged, call.readings, call.readings)
            elif self._is_believed(error):
                await self._leave_out(call, error)
            else:
                raise error
            del in_doubt[0]

    async def _send(self, call: Call, progress: Progress, wait: bool) -> CloudError | None:
        """Sends a call. Returns the error if the cloud refuses the call, or if it is too large."""
        try:
            await self._sender.send_readings(call, progress, wait=wait)
        except CloudError as error:
            if verdict(error) not in (Verdict.QUARANTINE, Verdict.TOO_LARGE):
                raise
            return error
        return None

    def _is_believed(self, error: CloudError) -> bool:
        return self._sender.believes(error, self._settlement.found, " ".join(self._collector))

    async def _leave_out(self, call: Call, error: CloudError) -> None:
        self._why_refused = str(error)
        self._refused += range(self._acknowledged, self._acknowledged + call.readings)
        await in_thread(self._note_acknowledged, call.readings, 0)

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
