"""Decides whether a refusal for good is believed, so that what is not the cloud fills no quarantine.

The rule: a file is given up only when the cloud accepts something after it has refused that file, and then refuses
the file again. Until then the file stays and is tried again. A call counts as accepted after a refusal if it began
after it: what was under way may have been answered before.

So a cloud that turns bad, at whatever moment, costs nothing but the rest of a file of which it refused something
before, and something that refuses everything, such as a captive portal, costs nothing at all. A bad file among good
ones is given up at its first retry.

Belongs to the event loop. Bound: `MAX_FILES` refused files are remembered; the first refusal of one that was
forgotten counts as none.
"""

from __future__ import annotations

import math

from ...base.bounded import Newest
from ...base.clock import Clock

MAX_FILES = 10_000
COLLECTORS_UNTIL_STOP = 3
FILES_UNTIL_STOP = 10

Version = tuple[str, int]
"""A file as it was sent: its path, and the time of its last change in nanoseconds."""


class Refusals:
    """What the cloud refused, and whether it accepted anything since."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._collectors: set[str] = set()
        self._files: set[Version] = set()
        self.note_connection()

    def note_connection(self) -> None:
        """Notes that the connection is new: nothing was refused or accepted over it yet."""
        self._first_s: Newest[Version, float] = Newest(MAX_FILES)
        self._accepted_s = -math.inf
        self._end_row()

    def note_acceptance(self, began_s: float) -> None:
        """Notes that the cloud accepted a call that began at `began_s`, on the monotonic clock."""
        self._accepted_s = max(self._accepted_s, began_s)
        self._end_row()

    def note_refusal(self, file: Version) -> None:
        """Notes that the cloud refused a call with something of the file, and of no other."""
        if file not in self._first_s:
            self._first_s[file] = self._clock.monotonic()

    def judge(self, file: Version, collector: str) -> bool:
        """Notes that the cloud refused what is to be given up of the file. Returns whether that is believed."""
        self.note_refusal(file)
        if self._accepted_s > self._first_s[file]:
            return True
        if not self.are_all:
            self._collectors.add(collector)
            self._files.add(file)
        return False

    @property
    def are_all(self) -> bool:
        """Whether so much was refused in a row that the cloud, or what stands in its place, seems to refuse
        everything: files of `COLLECTORS_UNTIL_STOP` collectors; or `FILES_UNTIL_STOP` files, if nothing was
        accepted over this connection. So one collector of which all is refused does not hold up the others."""
        if len(self._collectors) >= COLLECTORS_UNTIL_STOP:
            return True
        return len(self._files) >= FILES_UNTIL_STOP and self._accepted_s == -math.inf

    def _end_row(self) -> None:
        self._collectors.clear()
        self._files.clear()
