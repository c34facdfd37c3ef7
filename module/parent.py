"""`gone` waits for the end of the process that started this one: viam-server, without which the module must end.

viam-server may die while the module is still starting. Then the module's parent is already another process, whose
end comes too late or never. But viam-server reads the module's standard output through a pipe, and that pipe has no
reader any more.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
import sys

_STDOUT = 1
_POLL_S = 0.25


async def gone() -> None:
    """Returns when the process that started this one is gone; at once if it was gone before the call."""
    parent = os.getppid()
    handle = _handle_of(parent)
    if is_unread(_STDOUT):
        return
    if handle is not None:
        await _until_readable(handle)
        return
    while os.getppid() == parent:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(_POLL_S)


def is_unread(descriptor: int) -> bool:
    """Returns whether this is the end of a pipe that has no reader at its other end."""
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return False
    except OSError:  # it is closed
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _handle_of(pid: int) -> int | None:
    """Returns a descriptor that becomes readable when that process ends.

    Returns None where the system has no such descriptors, or can't see the process.
    """
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # the process is gone, or outside of this container; or the kernel lacks pidfd_open
        return None


async def _until_readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
