"""With strace, this module kills a running process as it enters a chosen system call, or makes the call fail.

In both cases the call is not executed. strace counts the calls of each thread separately.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

CALLS = {
    "thread": "?clone,?clone3",
    "rename": "?rename,?renameat,?renameat2",
    "unlink": "?unlink,?unlinkat",
    "truncate": "?truncate,?ftruncate",
    "fsync": "?fsync,?fdatasync,?syncfs,?sync_file_range",
    "write": "?write,?pwrite64,?writev",
    "openat": "?open,?openat",
}
"""The system calls of each kind; a processor may lack some of them."""
OF_FILE_WRITERS = frozenset({"write", "openat"})
"""Kinds of calls that every thread makes all the time; traps are set only for threads that write files."""

IS_CI = os.environ.get("CI", "").lower() in ("true", "1")
"""Whether this is a run in CI, where nothing that tests need may be missing."""

_KILLED = re.compile(r"^(?:\d+ +)?(\d+\.\d+) \+\+\+ killed by SIGKILL", re.MULTILINE)
_CALL = re.compile(r"^(?:\d+ +)?\d+\.\d+ (\w+\(.*)$", re.MULTILINE)
_LONG_WRITE_BYTES = 64
_FIRST_WRITE_S = 1.0
_POLL_S = 0.02
_PROBE_S = "0.2"
_PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Death:
    """The death of a process: when, and at which call."""

    at_ns: int
    call: str


def problem() -> str | None:
    """Returns why strace can't be used here; None if it can."""
    strace = shutil.which("strace")
    if strace is None:
        return "there is no strace to kill the module at a chosen system call: apt-get install strace"
    with subprocess.Popen(["sleep", _PROBE_S]) as probe:
        tried = subprocess.run(
            [strace, "-qq", "-o", os.devnull, "-p", str(probe.pid)],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    if tried.returncode != 0:
        return (
            f"strace may not attach here (sysctl -w kernel.yama.ptrace_scope=0 allows it): {tried.stderr.strip()}"
        )
    return None


class Trap:
    """Kills the process `pid` at the `when`th call of a kind. `close` must be called when the process is dead."""

    def __init__(self, pid: int, calls: str, when: int, log: Path) -> None:
        self._pid = pid
        self._calls = calls
        self._when = when
        self._log = log
        self._strace: asyncio.subprocess.Process | None = None

    async def set(self) -> None:
        """Starts strace, which is attached some milliseconds after this returns."""
        threads = await self._file_writers() if self._calls in OF_FILE_WRITERS else []
        names = CALLS[self._calls]
        self._strace = await asyncio.create_subprocess_exec(
            "strace",
            "-qq",
            "-ttt",
            *("-e", f"trace={names}", "-e", f"inject={names}:signal=SIGKILL:when={self._when}"),
            *("-o", str(self._log)),
            *([argument for thread in threads for argument in ("-p", str(thread))] or ["-f", "-p", str(self._pid)]),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def _file_writers(self) -> list[int]:
        """Waits a moment until threads have written to files, and returns these.

        If there are none, the trap covers all threads.
        """
        deadline_s = time.monotonic() + _FIRST_WRITE_S
        while True:
            found = file_writers(self._pid)
            if found or time.monotonic() > deadline_s:
                return found
            await asyncio.sleep(_POLL_S)

    async def sprung(self, timeout_s: float) -> Death | None:
        """Returns the death, by the trap or by another SIGKILL, if it comes in time; else None."""
        assert self._strace is not None
        try:
            await asyncio.wait_for(self._strace.wait(), timeout_s)
        except asyncio.TimeoutError:
            return None
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        killed, calls = _KILLED.search(log), _CALL.findall(log)
        return Death(int(float(killed[1]) * 1e6) * 1000, calls[-1][:200]) if killed and calls else None

    async def close(self) -> None:
        if self._strace is None:
            return
        try:
            await asyncio.wait_for(self._strace.wait(), _PROBE_TIMEOUT_S)
        except asyncio.TimeoutError:
            self._strace.kill()
            await self._strace.wait()


@asynccontextmanager
async def failing(threads: Sequence[int], calls: str, error: str) -> AsyncIterator[None]:
    """Makes every call of a kind, by these threads, fail with `error` during the block."""
    names = CALLS[calls]
    process = await asyncio.create_subprocess_exec(
        "strace",
        "-qq",
        *("-e", f"trace={names}", "-e", f"inject={names}:error={error}", "-o", os.devnull),
        *(argument for thread in threads for argument in ("-p", str(thread))),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        while not all(map(_is_traced, threads)):
            if process.returncode is not None:
                assert process.stderr is not None
                raise RuntimeError(f"strace ended: {(await process.stderr.read()).decode(errors='replace')}")
            await asyncio.sleep(_POLL_S)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _is_traced(thread: int) -> bool:
    status = Path(f"/proc/{thread}/status").read_text()
    return re.search(r"^TracerPid:\s+0$", status, re.MULTILINE) is None


def file_writers(pid: int) -> list[int]:
    """Returns the threads of a process that write files, known by their long writes.

    Returns none if the system does not show what threads write.
    """
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            rows = dict(line.split(": ") for line in (task / "io").read_text().splitlines())
        except OSError:  # the thread or the whole process has just ended
            continue
        calls = int(rows["syscw"])
        if calls and int(rows["wchar"]) > _LONG_WRITE_BYTES * calls:
            found.append(int(task.name))
    return found
