"""`give_way` leaves the processors to the module and the good sensors, for a program that makes hostile inputs."""

from __future__ import annotations

import os


def give_way() -> None:
    """Lets the calling thread, and what it starts from here on, run only where nothing else wants to run.

    A low priority is not enough: where each processor is busy, such a program still gets its slices of many
    milliseconds, in which the module's event loop waits.
    """
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
