"""Says how often a thing may be logged: each key once in an interval, at most `MAX_KEYS` keys remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict

from .clock import Clock

MAX_KEYS = 1000


class Throttle:
    """`allows(key)` is true once per `interval_s` and key. Forgetting the oldest key may allow it early. Any thread
    may ask."""

    def __init__(self, clock: Clock, interval_s: float) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._last: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, key: str) -> bool:
        now = self._clock.monotonic()
        with self._lock:
            last = self._last.get(key)
            if last is not None and now - last < self._interval_s:
                return False
            self._last[key] = now
            self._last.move_to_end(key)
            if len(self._last) > MAX_KEYS:
                self._last.popitem(last=False)
            return True
