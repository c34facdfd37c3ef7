"""The order of a collector's readings, where it has several calls in flight.

Each call has its turn, taken when it leaves. Answers are stored in the order of the turns: one that comes before an
earlier one's is held back until that has come or failed. Bounds: a turn that is open for `MAX_HELD_BACK_S` is
overtaken, as the oldest is beyond `MAX_TURNS` or `MAX_HELD_BACK_BYTES`: what waits behind it is stored, and its own
answer is when it comes. So nothing is lost by the order, and a crash costs no more than that time.

Belongs to the event loop. With one call in flight nothing is ever held back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MAX_HELD_BACK_S = 0.5
MAX_HELD_BACK_BYTES = 8 * 1024 * 1024
MAX_TURNS = 1000


class Turn:
    """One call, from its leaving until its reading is stored. `store` is None while there is no reading."""

    __slots__ = ("done", "overtaken", "size_bytes", "started_s", "store")

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self.store: Callable[[], None] | None = None
        self.size_bytes = 0
        self.done = False
        self.overtaken = False


class Turns:
    """The turns that are open, and those that are held back by them."""

    def __init__(self) -> None:
        self._turns: deque[Turn] = deque()
        self._held_back_bytes = 0

    def take(self, now_s: float) -> Turn:
        """The turn of a call that leaves now."""
        if self._turns:
            self._store_ready(now_s)
        turn = Turn(now_s)
        self._turns.append(turn)
        return turn

    def end(self, turn: Turn, now_s: float) -> None:
        """The call has come back: stores its reading, if it has one, and what waited for it."""
        turn.done = True
        if turn.overtaken:
            _store(turn)
            return
        self._held_back_bytes += turn.size_bytes
        self._store_ready(now_s)

    def give_up(self) -> None:
        """Stores what is held back; the open turns will have no reading."""
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
