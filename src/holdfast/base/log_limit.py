"""Keeps the log short and each record one line, whatever happens.

- No text is logged twice within `INTERVAL_S`. Lines from one place in the code with the same key (`once`) count as
  one text, even if they differ, such as in their numbers.
- Lines from one place in the code are of one kind. At most `MOST_OF_A_KIND` of a kind are logged within
  `INTERVAL_S`; the next one after that says how many were left out.
- A line break or a terminal's sequence in a text, such as in a file's name, is escaped.
- Where an error was raised stands at the end of the line, since viam-server shows no stack of a module.

A line that a handler can't take goes to stderr instead: logging never raises. Thread-safe. Bounds: `MAX_TEXTS`
texts and `MAX_KINDS` kinds are remembered. Beyond that, the oldest is forgotten and may be logged again early.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from traceback import walk_tb

from .bounded import Newest
from .words import escaped

INTERVAL_S = 60.0
MOST_OF_A_KIND = 20
MAX_TEXTS = 2000
MAX_KINDS = 500
MOST_CALLS = 12
"""How many calls are named that led to an error."""

_KEY = "holdfast_once"


def once(key: str = "") -> dict[str, str]:
    """Returns the `extra` for a log call whose lines with the same `key` count as one text."""
    return {_KEY: key}


@dataclass
class _Seen:
    """How many lines of one kind were logged, and how many were left out, since `since_s`."""

    since_s: float = -math.inf
    passed: int = 0
    left_out: int = 0


class LogLimit(logging.Handler):
    """Passes a record to `hand_on`, unless the limit is reached. Belongs in front of the handlers of a logger."""

    def __init__(
        self, hand_on: Callable[[logging.LogRecord], object], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._hand_on = hand_on
        self._monotonic = monotonic
        self._texts: Newest[str, float] = Newest(MAX_TEXTS)
        self._kinds: Newest[tuple[str, int], _Seen] = Newest(MAX_KINDS)

    def emit(self, record: logging.LogRecord) -> None:
        now_s = self._monotonic()
        key = getattr(record, _KEY, None)
        text = record.getMessage() if key is None else f"{record.pathname}:{record.lineno} {key}"
        said_s = self._texts.get(text)
        if said_s is not None and now_s - said_s < INTERVAL_S:
            return
        seen = self._seen((record.pathname, record.lineno))
        if now_s - seen.since_s >= INTERVAL_S:
            seen.since_s, seen.passed = now_s, 0
        self._texts[text] = now_s
        if seen.passed >= MOST_OF_A_KIND:
            seen.left_out += 1
            return
        seen.passed += 1
        try:
            self._hand_on(_to_be_read(record, seen.left_out))
        except Exception:  # noqa: BLE001 - a line that can't be logged must not end what is logged about
            self.handleError(record)
        seen.left_out = 0

    def _seen(self, kind: tuple[str, int]) -> _Seen:
        seen = self._kinds[kind] = self._kinds.get(kind) or _Seen()
        return seen


def _to_be_read(record: logging.LogRecord, left_out: int) -> logging.LogRecord:
    record = copy.copy(record)
    more = f" ({left_out} lines like this were left out before)" if left_out else ""
    record.msg, record.args = escaped(record.getMessage()) + _trace(record) + more, ()
    record.exc_info = record.exc_text = record.stack_info = None
    return record


def _trace(record: logging.LogRecord) -> str:
    """Returns the calls in which the error of a record was raised, the innermost first; empty if it has none. Reads
    no source."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ""
    calls = [f"{os.path.basename(frame.f_code.co_filename)}:{line}" for frame, line in walk_tb(error.__traceback__)]
    return f" (raised at {', called at '.join(calls[: -MOST_CALLS - 1 : -1])})" if calls else ""
