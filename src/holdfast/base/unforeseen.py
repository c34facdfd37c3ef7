"""What failed in a way that nobody foresaw: each is logged with the place in the code, and kept for the status.

What is foreseen is a HoldfastError, and handled where it can be. Everything else comes here by `note`, from the few
places that catch `Exception`; each says what goes on all the same. Thread-safe. Bounds: `MAX_PARTS` parts are
remembered; beyond that the one that failed least lately is forgotten.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from .log_limit import once
from .problems import Kind, Problem

MAX_PARTS = 100
REASON = "unexpected_error"
"""By this word readings are counted that such a failure cost."""
RECENT_S = 600.0
"""For so long a failure is a problem that a person has to see to."""
REMEDY = "please report it, with what the log says"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unforeseen:
    """The failures of one part of the program."""

    what: str
    error: str
    """The last one."""
    times: int
    last_s: float
    """When the last one was, on the monotonic clock."""


_lock = threading.Lock()
_found: dict[str, Unforeseen] = {}


def remember(what: str, error: BaseException) -> None:
    """Keeps for the status that the part `what` failed with `error`, which the caller logs."""
    with _lock:
        before = _found.pop(what, None)
        _found[what] = Unforeseen(what, in_words(error), before.times + 1 if before else 1, time.monotonic())
        if len(_found) > MAX_PARTS:
            del _found[next(iter(_found))]


def note(what: str, error: BaseException, consequence: str) -> None:
    """Notes that the part `what` failed with `error`; `consequence` says what goes on, and what it cost. Never
    raises."""
    remember(what, error)
    text = in_words(error)
    try:
        logger.error(
            "%s failed unexpectedly (%s); %s", what, text, consequence, exc_info=error, extra=once(f"{what} {text}")
        )
    except Exception:  # noqa: BLE001 - without memory or a usable clock nothing can be logged; the status has it
        return


def all_found() -> list[Unforeseen]:
    """Returns what failed so far, the latest last."""
    with _lock:
        return list(_found.values())


def problems(now_s: float) -> list[Problem]:
    """Returns what failed within the last `RECENT_S`; `now_s` is on the monotonic clock."""
    return [
        Problem(
            Kind.BUG,
            f"{each.what} failed unexpectedly ({each.error}) and went on; {each.times} times since the start",
            REMEDY,
            key=each.what,
        )
        for each in all_found()
        if now_s - each.last_s < RECENT_S
    ]


def in_words(error: BaseException) -> str:
    """Returns an error's type and text, for people."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
