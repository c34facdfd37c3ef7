"""What each signal does to the module: those that would end a process by default end it in order, whenever they
come and however many.

`take` blocks them before the first thread is started, and so in every thread: from then on none of them acts by
itself, and no handler that a library sets is called. `when_ending` receives them on a thread of its own; one that
comes earlier waits for it.

`ACTIONS` has every signal of the system:

- Faults of the program itself, and what asks for a core dump, are left alone: what is in memory then is not to be
  trusted.
- A stop that a terminal asks for is ignored, as by other services: a module that is stopped captures nothing.
- What the parent had ignored, such as SIGHUP with nohup, stays ignored; SIGTERM does not, since viam-server ends
  modules by it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum

from holdfast.base.threads import SupervisedThread


class Action(Enum):
    """What a signal does."""

    END = "ends the process in order"
    IGNORE = "is ignored"
    LEAVE = "does what the system does by default"


_BY_ACTION = {
    Action.END: "TERM HUP INT QUIT USR1 USR2 ALRM VTALRM PROF IO POLL PWR STKFLT XCPU",
    Action.IGNORE: "PIPE XFSZ TSTP TTIN TTOU",
    Action.LEAVE: "ABRT IOT BUS FPE ILL SEGV SYS TRAP EMT KILL STOP CONT CHLD CLD URG WINCH INFO",
}


def _actions() -> Mapping[int, Action]:
    found = {
        int(number): action
        for action, names in _BY_ACTION.items()
        for name in names.split()
        if (number := getattr(signal, f"SIG{name}", None)) is not None
    }
    first = getattr(signal, "SIGRTMIN", 1)
    return found | dict.fromkeys(range(first, getattr(signal, "SIGRTMAX", 0) + 1), Action.END)


ACTIONS = _actions()
"""What each signal does, by its number."""
_ENDING = frozenset(number for number, action in ACTIONS.items() if action is Action.END)


def take() -> frozenset[int]:
    """Lets every signal do what `ACTIONS` says, and returns those that end the process.

    Call it on the main thread, before there is another one. Those that end are held back until `when_ending`.
    """
    ignored = {number for number in _ENDING if signal.getsignal(number) is signal.SIG_IGN} - {signal.SIGTERM}
    for number, action in ACTIONS.items():
        if action is Action.IGNORE:
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    return _ENDING - ignored


def when_ending(ending: frozenset[int], loop: asyncio.AbstractEventLoop, act: Callable[[str], None]) -> None:
    """Calls `act` on `loop` with the name of the first of these signals that comes. Later ones have no effect.

    `ending` is what `take` returned.
    """

    def wait() -> None:
        while (number := signal.sigwait(_ENDING)) not in ending:
            pass
        with suppress(RuntimeError):  # the loop was closed: the process is ending already
            loop.call_soon_threadsafe(act, name_of(number))

    SupervisedThread("holdfast-signals", "the thread for signals", wait)


def name_of(number: int) -> str:
    """Returns the name of a signal; of one without a name, its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
