"""`give_way` leaves the processors to the module and the good sensors, for a program that makes hostile inputs."""

from __future__ import annotations

import os

STANDS_BACK = "HOSTILE_STANDS_BACK"
"""The variable that says 0 where hostile inputs are to come on a busy computer too, as in a test of the bench."""


def give_way() -> None:
    """Lets the calling thread, and what it starts from here on, run only where nothing else wants to run.

    A low priority is not enough: where each processor is busy, such a program still gets its slices of many
    milliseconds, in which the module's event loop waits.
    """
    if os.environ.get(STANDS_BACK, "1") != "0":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
