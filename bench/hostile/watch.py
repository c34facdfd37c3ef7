"""`Watch` measures, inside a process, how long its event loop is held, and by what.

A turn of the loop begins when its selector should return at the latest, and ends when the loop waits again: in this
time nothing else of the loop can run. A turn of `LEAST_S` or more is a `Hold`. Three things make one, and a hold
tells them apart:

- The loop's own thread works: its CPU time is as long as the hold.
- Another thread keeps Python's lock (GIL), as in a long call of a C function: that thread has the CPU time.
- The machine is busy with other programs: a thread is ready to run, and has no processor. Linux counts that time as
  the thread's run delay. The loop's thread may also wait for a lock of another thread that has no processor.

A probe, which is a thread, looks every `TICK_S`. When a turn lasts, it takes the stack of the loop's thread and of
each thread that had much CPU time since. While another thread keeps Python's lock, the probe waits like the loop.
The thread that kept it is then found in the line of its long call, since it hands over the lock there.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from module.event_loop import FineSelector

from .thread_times import ThreadTimes, Times, name_of_thread

LEAST_S = 0.02
TICK_S = 0.005
_BEAT_S = 0.005
"""The longest wait of a selector: a longer one would hide how late it returns."""
_LOOK_AT_ALL_S = 0.05
"""A look at all threads costs a fraction of a millisecond."""
_MOST_LOOKS = 200
"""Of the loop's thread, for a second; of all threads a quarter, for two and a half."""
_MOST_FRAMES = 12
_BELOW = ("asyncio/events.py", "asyncio/base_events.py", "threading.py")
_MOST_THREADS = 3
_LEAST_MS = 3.0
_MS = 1e-6
"""Milliseconds in a nanosecond."""
Stack = tuple[str, ...]
_ROOT = str(Path(__file__).parent.parent.parent) + os.sep


@dataclass(frozen=True)
class Busy:
    """A thread that had CPU time or a run delay during a hold, and its stack, innermost first; empty if it runs no
    Python code."""

    thread: str
    cpu_ms: float
    delay_ms: float = 0.0
    stack: Sequence[str] = ()


@dataclass(frozen=True)
class Hold:
    """One turn of the loop that took long. Times are of the monotonic clock, which all processes share."""

    begin_ns: int
    end_ns: int
    late_ms: float
    """How late the selector returned; part of the hold."""
    cpu_ms: float
    """CPU time of the loop's thread."""
    delay_ms: float
    """How long the loop's thread was ready to run and had no processor."""
    collection_ms: float
    """Python's garbage collection."""
    stacks: Sequence[tuple[int, Sequence[str]]]
    """Where the loop's thread was, innermost first, with how often it was seen there; the most frequent first."""
    others: Sequence[Busy]
    """The other threads that had the most of either."""

    @property
    def wall_ms(self) -> float:
        return (self.end_ns - self.begin_ns) * _MS

    @property
    def own_ms(self) -> float:
        """The part of it that no other program can be blamed for.

        That is the loop's CPU time, and the time in which it waited for another thread, unless that thread may have
        had no processor either.
        """
        waited_ms = max(0.0, self.wall_ms - self.delay_ms - self.cpu_ms)
        others_delay_ms = max((busy.delay_ms for busy in self.others), default=0.0)
        others_cpu_ms = max((busy.cpu_ms for busy in self.others), default=0.0)
        return self.cpu_ms + min(waited_ms, max(waited_ms - others_delay_ms, others_cpu_ms))

    @classmethod
    def read(cls, line: str) -> Hold:
        """Reads what `Watch` wrote."""
        values: dict[str, Any] = json.loads(line)
        values["others"] = [Busy(**each) for each in values["others"]]
        return cls(**values)


class Turns:
    """The turns of a loop, as its selector sees them. Belongs to the loop's thread but for `current`, `last`."""

    def __init__(self) -> None:
        self.long: deque[tuple[int, int, int, int]] = deque()
        """Of each long turn: when it should have begun, when it began, when it ended, its CPU time, in ns."""
        self.due_ns = 0
        """When the selector should return at the latest, or when the turn that runs should have begun."""
        self.turns = 0
        self._cpu_ns = 0
        self._began_ns = 0

    def ends(self, timeout: float | None) -> None:
        """Notes that the loop waits now, for at most `timeout`."""
        now_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        if now_ns - self.due_ns >= LEAST_S * 1e9 and self.due_ns:
            self.long.append((self.due_ns, self._began_ns, now_ns, cpu_ns - self._cpu_ns))
        self._cpu_ns = cpu_ns
        self.turns += 1
        self.due_ns = now_ns + int((timeout or 0.0) * 1e9) if timeout is not None else sys.maxsize

    def begins(self) -> None:
        self._began_ns = time.monotonic_ns()
        self.due_ns = min(self.due_ns, self._began_ns)


class WatchedSelector(FineSelector):
    """The module's selector, which tells `turns` when it waits."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns

    def select(self, timeout: float | None = None) -> Any:
        self._turns.ends(timeout)
        try:
            return super().select(timeout)
        finally:
            self._turns.begins()


class Watch:
    """Watches the loop that `new_event_loop` makes, and writes each hold as a line of JSON to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turns = Turns()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._collections: deque[tuple[int, int]] = deque(maxlen=1000)
        self._collection_began_ns = 0
        self._stopped = threading.Event()
        self._samples: Counter[Stack] = Counter()
        self._stacks: dict[int, tuple[str, Stack]] = {}
        """The names of Python's threads, and their stacks when the loop was held, by the system's id."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Returns the loop to watch, which must run on the calling thread, and begins to watch it."""
        self._loop = asyncio.SelectorEventLoop(WatchedSelector(self._turns))
        self._loop.call_soon(self._beat)
        gc.callbacks.append(self._on_collection)
        ident, native = threading.get_ident(), threading.get_native_id()
        threading.Thread(target=self._probe, args=(ident, native), name="watch", daemon=True).start()
        return self._loop

    def stop(self) -> None:
        """Ends the watch. Otherwise it lasts as long as the process."""
        self._stopped.set()
        gc.callbacks.remove(self._on_collection)

    def _beat(self) -> None:
        assert self._loop is not None
        self._loop.call_later(_BEAT_S, self._beat)

    def _on_collection(self, phase: str, info: Mapping[str, int]) -> None:
        now_ns = time.monotonic_ns()
        if phase == "start":
            self._collection_began_ns = now_ns
        elif now_ns - self._collection_began_ns > 1_000_000:
            self._collections.append((self._collection_began_ns, now_ns))

    def _probe(self, loop_ident: int, loop_native: int) -> None:
        """Runs on a thread of its own until `stop`."""
        loop_times, all_times = ThreadTimes(_MOST_LOOKS), ThreadTimes(_MOST_LOOKS // 4)
        looked_ns = all_looked_ns = 0
        with open(self._path, "w", buffering=1) as file:
            while not self._stopped.wait(TICK_S):
                before_ns, looked_ns = looked_ns, time.monotonic_ns()
                held = looked_ns - self._turns.due_ns >= LEAST_S * 1e9
                writes = bool(self._turns.long) and not held
                if held or writes or looked_ns - before_ns >= LEAST_S * 1e9:  # or the probe was held up too
                    self._take_stacks(loop_ident if held else None)
                loop_times.look((loop_native,))
                if writes or looked_ns - all_looked_ns > _LOOK_AT_ALL_S * 1e9:
                    all_times.look()
                    all_looked_ns = looked_ns
                if writes:
                    self._write(file, loop_native, loop_times, all_times)

    def _take_stacks(self, loop_ident: int | None) -> None:
        """Notes where each thread is, the first time in a hold; the loop's each time, while it is held."""
        frames = sys._current_frames()
        if loop_ident is not None:
            self._samples[stack_of(frames.get(loop_ident))] += 1
        for thread in threading.enumerate():
            if thread.native_id is not None and thread.ident is not None:
                self._stacks.setdefault(thread.native_id, (thread.name, stack_of(frames.get(thread.ident))))

    def _write(self, file: TextIO, loop_native: int, loop_times: ThreadTimes, all_times: ThreadTimes) -> None:
        """Writes the turns that ended. The stacks of the loop belong to the longest of them."""
        longest = max(each[2] - each[0] for each in self._turns.long)
        while self._turns.long:
            due_ns, began_ns, end_ns, cpu_ns = self._turns.long.popleft()
            collected_ns = sum(
                min(until, end_ns) - max(since, due_ns)
                for since, until in tuple(self._collections)
                if since < end_ns and until > due_ns
            )
            others = all_times.between(due_ns, end_ns)
            for ours in (loop_native, threading.get_native_id()):
                others.pop(ours, None)
            hold = Hold(
                begin_ns=due_ns,
                end_ns=end_ns,
                late_ms=round((began_ns - due_ns) * _MS, 1),
                cpu_ms=round(cpu_ns * _MS, 1),
                delay_ms=round(loop_times.between(due_ns, end_ns)[loop_native].delay_ns * _MS, 1),
                collection_ms=round(collected_ns * _MS, 1),
                stacks=[(count, each) for each, count in self._samples.most_common(3)]
                if end_ns - due_ns == longest
                else [],
                others=self._busiest(others),
            )
            file.write(json.dumps(asdict(hold)) + "\n")
        self._samples.clear()
        self._stacks.clear()

    def _busiest(self, others: Mapping[int, Times]) -> list[Busy]:
        found = []
        for native, times in sorted(others.items(), key=lambda each: -max(each[1]))[:_MOST_THREADS]:
            name, stack = self._stacks.get(native, ("", ()))
            cpu_ms, delay_ms = round(times.cpu_ns * _MS, 1), round(times.delay_ns * _MS, 1)
            if cpu_ms + delay_ms >= _LEAST_MS:
                found.append(Busy(name or name_of_thread(native), cpu_ms, delay_ms, stack))
        return found


def stack_of(frame: FrameType | None) -> Stack:
    """Returns the lines of a stack, innermost first, without the event loop's own and what is below it."""
    found: list[str] = []
    while frame is not None and len(found) < _MOST_FRAMES:
        code = frame.f_code
        if found and code.co_filename.endswith(_BELOW):
            break
        file = code.co_filename.removeprefix(_ROOT)
        for library in ("site-packages/", f"python{sys.version_info[0]}.{sys.version_info[1]}/"):
            file = file.rpartition(library)[2]
        found.append(f"{file}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return tuple(found)
