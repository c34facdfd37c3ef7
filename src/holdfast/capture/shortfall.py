"""What a collector falls short by, in words: each cause with its share, and what helps. Pure functions of the
figures of a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..base.words import duration, number_of, size
from .answer_memory import MAX_BYTES
from .causes import Cause
from .collector import MAX_CALLS_TO_A_RESOURCE
from .rates import Totals

_BUSY_CORE = 0.85
BUSY_COMPUTER = 0.95


@dataclass(frozen=True)
class Load:
    """How busy the CPU was, where 1 is fully: by this process, of one core; by everything, of all cores. And for
    which share of the time the event loop was late. All is 0 before it was measured."""

    process: float = 0.0
    computer: float = 0.0
    late: float = 0.0
    at_s: float | None = None
    """When it was measured, on the monotonic clock; None before. Nothing measures it while no collector runs."""


@dataclass(frozen=True)
class Shortfall:
    """A collector's figures over its window, which lasted `window_s` until `at_s` of the monotonic clock."""

    at_s: float
    totals: Totals
    window_s: float
    max_in_flight: int
    longest_s: float
    """How long the longest call took, or how long the oldest one in flight has been waiting."""
    load: Load
    last_error: str = ""


@dataclass(frozen=True)
class Part:
    """What one cause has of the readings that are missing: their number, its share (0 to 1), what was measured,
    and what helps."""

    cause: Cause
    readings: int
    share: float
    why: str
    do: str


def parts_of(found: Shortfall) -> list[Part]:
    """Returns the causes of what is missing, the one with the largest share first."""
    missing = found.totals.missing
    total = sum(missing.values())
    causes = sorted((cause for cause in missing if missing[cause]), key=lambda cause: -missing[cause])
    return [Part(cause, missing[cause], missing[cause] / total, *_WORDS[cause](found)) for cause in causes]


def sentence(found: Shortfall, parts: Sequence[Part] | None = None) -> str:
    """Returns all causes and their shares, as one sentence for users, and what helps against the largest.

    `parts` are those of `parts_of(found)`, if they are known already.
    """
    parts = parts_of(found) if parts is None else parts
    totals = found.totals
    said = ", ".join(f"{_percent(part.share)} {part.why}" for part in parts)
    missing = f"of {totals.due} readings that were due in the last {duration(found.window_s)}"
    return f"{missing}, {sum(totals.missing.values())} are missing: {said}; {parts[0].do}" if parts else ""


def largest_in_words(parts: Sequence[Part]) -> str:
    """Returns the largest cause for users, and the others that have a tenth or more, with their shares."""
    return ", ".join(
        f"{_percent(part.share)} {part.why}" for part in parts if part is parts[0] or part.share >= 0.1
    )


def missing_in_words(found: Shortfall) -> str:
    """Returns how many readings are missing, for users."""
    totals = found.totals
    missing = min(totals.missed, totals.due)  # one that came just before may be dropped within the window
    return f"{missing} of {number_of(totals.due, 'reading')} missing in the last {duration(found.window_s)}"


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{share * 100:.0f} %"


def _slow_call(found: Shortfall) -> tuple[str, str]:
    return (
        f"waited for a call that ran long (up to {_short(found.longest_s)})",
        f"see why the component takes so long, raise max_in_flight ({found.max_in_flight}) if it can answer "
        "several calls at once, or lower capture_frequency_hz",
    )


def _computer(found: Shortfall) -> tuple[str, str]:
    return (
        f"waited for a call that ran long (up to {_short(found.longest_s)}) while the whole computer was busy",
        "give the computer less to do, or lower the frequencies",
    )


def _loop(found: Shortfall) -> tuple[str, str]:
    load = found.load
    if load.process >= _BUSY_CORE:
        do = "lower the frequencies, or use a faster computer"
    elif load.computer >= BUSY_COMPUTER:
        do = "give the computer less to do, or lower the frequencies"
    else:
        do = "why it was late is not known: neither the module nor the computer was busy all the time"
    return (
        f"came due while the module was late (for {_percent(load.late)} of the time; it used {load.process:.0%} "
        f"of a core, and the computer was {load.computer:.0%} busy)",
        do,
    )


def _resource_limit(found: Shortfall) -> tuple[str, str]:
    return (
        f"found {MAX_CALLS_TO_A_RESOURCE} calls in flight to their resource, the most that Holdfast makes",
        "lower the frequencies or max_in_flight of the methods of this resource, or see why it takes so long",
    )


def _memory(found: Shortfall) -> tuple[str, str]:
    return (
        f"found no memory for their answers beside those on their way ({size(MAX_BYTES)})",
        "lower the frequencies of what gives large answers, or make these smaller",
    )


def _error(found: Shortfall) -> tuple[str, str]:
    return f"are calls that failed (the last: {found.last_error or 'not known'})", "fix the resource"


def _disk(found: Shortfall) -> tuple[str, str]:
    reasons = ", ".join(f"{count} {reason}" for reason, count in found.totals.dropped.items() if count)
    return (
        f"were read and could not be kept ({reasons})",
        "see last_disk_error; free some space, use a faster disk, or lower the frequency",
    )


def _unknown(found: Shortfall) -> tuple[str, str]:
    return "are missing for a reason that is not known", "see unexpected_errors, and report them please"


_WORDS = {
    Cause.SLOW_CALL: _slow_call,
    Cause.COMPUTER: _computer,
    Cause.LOOP: _loop,
    Cause.RESOURCE_LIMIT: _resource_limit,
    Cause.MEMORY: _memory,
    Cause.ERROR: _error,
    Cause.DISK: _disk,
    Cause.UNKNOWN: _unknown,
}


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"
