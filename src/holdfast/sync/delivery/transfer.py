"""A capture file that is sent by itself: its calls one after the other, and what the cloud refuses of it.

A call that is refused for good, or is too large, is halved until the reading that is to blame is alone; that one is
left out, by its number, and the others are delivered. What is acknowledged, and what is refused among it, is in the
journal after each call. Only `deliver` belongs to the event loop; the rest blocks.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

from ...base.filesystem import FileSystem
from ...errors import CloudError
from ...storage.capture_files.reader import CaptureReader
from ...storage.ledger.counts import collector_of
from ...storage.ledger.known_files import Acknowledged
from ..cloud.verdicts import Verdict, verdict
from ..found import Found, Outcome
from .calls import MAX_UNARY_BINARY_BYTES, Call, UnaryCall, capture_calls
from .settlement import Scanned, Settlement

MAX_REFUSED = 100
"""Readings of one file that are singled out; beyond, what is left of a call goes with the one that is refused."""

Send = Callable[[Call], Awaitable[None]]
IsRefused = Callable[[CloudError], bool]
"""Told of each reading that is refused for good: whether it may be given up."""


class Transfer:
    """Raises DamagedFileError and StorageError, as a reader does. `close` when done."""

    def __init__(self, files: FileSystem, settlement: Settlement, found: Found, part_id: str) -> None:
        self._settlement = settlement
        self._found = found
        self._reader = CaptureReader(files, found.path)
        self.collector = collector_of(self._reader.metadata)
        self._acknowledged = settlement.acknowledged(found)
        self._refused = list(settlement.refused(found))
        self._why_refused = "in an earlier attempt"
        rest = itertools.islice(self._reader.contents(MAX_UNARY_BINARY_BYTES), self._acknowledged, None)
        self._calls = capture_calls(self._reader.metadata, rest, part_id)

    def next_call(self) -> Call | None:
        return next(self._calls, None)

    def finish(self) -> Outcome:
        """All calls are dealt with."""
        return self._settlement.close(self._found, Scanned.of(self._reader), self._refused, self._why_refused)

    def close(self) -> None:
        self._reader.close()

    async def deliver(
        self, call: Call, send: Send, is_refused: IsRefused, hop: Callable[..., Awaitable[None]]
    ) -> None:
        """Brings a call to the cloud, all or without what it refuses. `hop` runs a function on a worker thread."""
        pending = [call]
        while pending:
            call = pending.pop()
            try:
                await send(call)
            except CloudError as error:
                found = verdict(error)
                if found not in (Verdict.QUARANTINE, Verdict.TOO_LARGE):
                    raise
                smaller = self._smaller(call, found)
                if smaller:
                    pending += reversed(smaller)
                    continue
                if not is_refused(error):
                    raise
                self._why_refused = str(error)
                self._refused += range(self._acknowledged, self._acknowledged + call.readings)
                await hop(self._note, call.readings, 0)
            else:
                await hop(self._note, call.readings, call.readings)

    def _smaller(self, call: Call, found: Verdict) -> list[Call]:
        """What to send in place of a call that was not taken; empty when it can't be made smaller."""
        if not isinstance(call, UnaryCall):
            return []
        if call.readings > 1 and len(self._refused) < MAX_REFUSED:
            return list(call.split(call.readings // 2))
        stream = call.as_stream() if found is Verdict.TOO_LARGE else None
        return [stream] if stream is not None else []

    def _note(self, readings: int, delivered: int) -> None:
        self._acknowledged += readings
        acknowledged = Acknowledged(self._acknowledged, self._found.modified_ns, tuple(self._refused))
        self._settlement.took(self._found, self.collector, acknowledged, delivered, ours=self._reader.checked)
