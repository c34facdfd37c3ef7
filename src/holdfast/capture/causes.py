"""Why a reading is missing: the causes, and the conditions by which they are told apart.

Each deadline without a reading has one cause, which is decided when the deadline passes, by what it waited for:

| cause | what was measured |
|---|---|
| `slow_call` | all calls that the collector may have in flight waited for their answers |
| `computer` | the same, while the whole computer was busy, unless the call took `_SURELY` times as long as it may |
| `loop` | the event loop came when the next deadline had come too, or its lateness made the call too long |
| `resource_limit` | the resource had as many calls in flight as it is given, from all collectors |
| `memory` | there was no memory for the answer beside those on their way |
| `error` | the call failed |
| `disk` | the reading came, and could not be kept |
| `unknown` | an error in Holdfast that nobody foresaw |

Runs on the event loop.
"""

from __future__ import annotations

from enum import Enum

_ALMOST = 0.9
_SURELY = 5.0


class Cause(Enum):
    """Why a reading is missing. The value is the word in the status."""

    SLOW_CALL = "slow_call"
    COMPUTER = "computer"
    LOOP = "loop"
    RESOURCE_LIMIT = "resource_limit"
    MEMORY = "memory"
    ERROR = "error"
    DISK = "disk"
    UNKNOWN = "unknown"


class Absence(Enum):
    """Why a collector does not run. The value is the word in the status, as that of `Cause`."""

    PAUSED = "paused"
    """A user paused it, or set its frequency to 0, by command."""
    CONTROL_SENSOR = "control_sensor"
    """The capture control sensor set its frequency to 0."""
    NO_RESOURCE = "no_resource"
    """The machine does not have its resource."""
    CONFIG = "config"
    """The config does not want it."""
    NOT_RUNNING = "not_running"
    """Holdfast was not running, or its service was not configured."""


class Conditions:
    """What makes calls long that is no fault of their resource. Shared by all collectors."""

    __slots__ = ("is_crowded", "late_s")

    def __init__(self) -> None:
        self.late_s = 0.0
        """For how long, in total, the event loop was late for a deadline. Kept by the scheduler."""
        self.is_crowded = False
        """Whether the processors of the computer were all busy at the last look of `Watch`."""


def cause_of_wait(took_s: float, late_s: float, interval_s: float, max_in_flight: int, *, crowded: bool) -> Cause:
    """Returns why a deadline passed while all calls were in flight, the oldest for `took_s`.

    The loop was late for `late_s` of that. Deadlines come each `interval_s`, so at least that long no call ended:
    what is left without the lateness of the loop is less only if that lateness is to blame.
    """
    if took_s - late_s < _ALMOST * interval_s:
        return Cause.LOOP
    if crowded and took_s < _SURELY * interval_s * max_in_flight:
        return Cause.COMPUTER
    return Cause.SLOW_CALL
