"""The end of the process that started us is noticed, even when it comes before we look."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from module import parent

ROOT = Path(__file__).parent.parent.parent
CHILD = """
import asyncio, os, sys, time
while sys.argv[1] == "late" and os.getppid() == int(sys.argv[2]):
    time.sleep(0.01)
os.write(int(sys.argv[3]), b"starts ")
from module import parent
asyncio.run(parent.gone())
os.write(int(sys.argv[3]), b"ends")
"""
PARENT = """
import os, subprocess, sys
child = [sys.executable, "-c", sys.argv[1], sys.argv[2], str(os.getpid()), sys.argv[3]]
process = subprocess.Popen(child, stdout=subprocess.PIPE, pass_fds=[int(sys.argv[3])])
if sys.argv[2] == "late":
    os._exit(0)
sys.stdin.read()
"""


@pytest.mark.parametrize("when", ["early", "late"])
def test_a_child_hears_of_the_end_of_its_parent(when: str) -> None:
    """`late`: it looks only when its parent is gone already."""
    near, far = os.pipe()
    with os.fdopen(near, "rb") as said:
        started = [sys.executable, "-c", PARENT, CHILD, when, str(far)]
        with subprocess.Popen(started, stdin=subprocess.PIPE, pass_fds=[far], cwd=ROOT) as process:
            os.close(far)
            assert said.read(7) == b"starts "
            process.kill()
        assert said.read() == b"ends"


@pytest.mark.skipif(sys.platform != "linux", reason="there is no handle of a process here")
@pytest.mark.parametrize("has_handle", [True, False])
async def test_while_the_parent_lives_nothing_is_heard(has_handle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_handle:

        def no_handle(pid: int, flags: int = 0) -> int:
            raise OSError

        monkeypatch.setattr(os, "pidfd_open", no_handle)
    waiting = asyncio.create_task(parent.gone())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    if not has_handle:
        monkeypatch.setattr(os, "getppid", lambda: 1)
        await asyncio.wait_for(waiting, 20)
    waiting.cancel()


def test_only_a_pipe_that_nobody_reads_is_unread(tmp_path: Path) -> None:
    near, far = os.pipe()
    assert not parent.is_unread(far)
    os.close(near)
    assert parent.is_unread(far)
    os.close(far)
    assert not parent.is_unread(far)
    with (tmp_path / "log").open("w") as log:
        assert not parent.is_unread(log.fileno())
