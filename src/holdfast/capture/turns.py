"""The order of a collector's readings while it has several calls in flight.

Each call takes a *turn* when it leaves, and readings are stored in the order of the turns: one whose answer comes
before that of an earlier turn is held back until the earlier call has ended. Bounds: the oldest turn is *overtaken*
when it has been open for `MAX_HELD_BACK_S`, or beyond `MAX_TURNS` or `MAX_HELD_BACK_BYTES`. The readings behind it
are stored then, and its own is stored when it comes. So the order never costs a reading, and a crash costs no more
readings than those of `MAX_HELD_BACK_S`.

Runs on the event loop. With one call in flight nothing is ever held back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MAX_HELD_BACK_S = 0.5
MAX_HELD_BACK_BYTES = 8 * 1024 * 1024
MAX_TURNS = 1000


class Turn:
    """The turn of one call, from its start until its reading is stored. `store` is None without a reading.

    `loop_late_s` is how late the event loop had been in total when the call left (see `Conditions`).
    """

    __slots__ = ("done", "loop_late_s", "overtaken", "size_bytes", "started_s", "store")

    def __init__(self, started_s: float, loop_late_s: float = 0.0) -> None:
        self.started_s = started_s
        self.loop_late_s = loop_late_s
        self.store: Callable[[], None] | None = None
        self.size_bytes = 0
        self.done = False
        self.overtaken = False

    def hold(self, store: Callable[[], None], size_bytes: int) -> None:
        """Gives the turn a reading of `size_bytes`, which `store` stores once it is due."""
        self.store = store
        self.size_bytes = size_bytes


class Turns:
    """The open turns of a collector, and the readings that they hold back."""

    def __init__(self) -> None:
        self._turns: deque[Turn] = deque()
        self._held_back_bytes = 0

    def take(self, now_s: float, loop_late_s: float = 0.0) -> Turn:
        """Returns the turn of a call that leaves now."""
        if self._turns:
            self._store_ready(now_s)
        turn = Turn(now_s, loop_late_s)
        self._turns.append(turn)
        return turn

    def end(self, turn: Turn, now_s: float) -> None:
        """Ends a turn, whose call has ended: stores its reading, if there is one, and those that waited for it."""
        turn.done = True
        if turn.overtaken:
            _store(turn)
            return
        self._held_back_bytes += turn.size_bytes
        self._store_ready(now_s)

    def give_up(self) -> None:
        """Stores the readings that are held back, when the calls of the open turns have been cancelled."""
        while self._turns:
            self._pop()

    def _store_ready(self, now_s: float) -> None:
        turns = self._turns
        while turns and (turns[0].done or self._is_overtaken(turns[0], now_s)):
            self._pop()

    def _is_overtaken(self, first: Turn, now_s: float) -> bool:
        return len(self._turns) > 1 and (
            now_s - first.started_s >= MAX_HELD_BACK_S
            or len(self._turns) > MAX_TURNS
            or self._held_back_bytes > MAX_HELD_BACK_BYTES
        )

    def _pop(self) -> None:
        turn = self._turns.popleft()
        if turn.done:
            self._held_back_bytes -= turn.size_bytes
            _store(turn)
        else:
            turn.overtaken = True


def _store(turn: Turn) -> None:
    if turn.store is not None:
        turn.store()
