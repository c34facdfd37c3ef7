"""Signals to a real module that captures at 100 Hz: each ends it in order, or is ignored.

The sensor, which is never interrupted, numbers its readings; each that it served must be on the disk once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from module.signals import ACTIONS, Action
from tests.e2e.machines import until

from .counting_rig import ROOT, RUN, a_rig

A_WHILE = 30
"""Readings of a part of a flush interval: they are still in memory."""
ENDING = [number for number, action in ACTIONS.items() if action is Action.END and number < signal.SIGRTMIN]


@pytest.mark.parametrize(
    "several",
    [
        [[number] for number in ENDING],
        [[signal.SIGRTMIN], [signal.SIGRTMAX]],
        [[signal.SIGTERM, signal.SIGHUP], [signal.SIGHUP, signal.SIGTERM], [signal.SIGINT, signal.SIGQUIT]],
        [[signal.SIGTERM, *ENDING, *ENDING, signal.SIGRTMIN + 3]],
    ],
    ids=["each", "real-time", "two-at-once", "all-at-once"],
)
async def test_a_signal_that_ends_programs_costs_no_reading(
    tmp_path: Path, several: Sequence[Sequence[int]]
) -> None:
    async with a_rig(tmp_path) as rig:
        for numbers in several:
            await rig.until_captured(A_WHILE)
            await rig.send(*numbers)
        await rig.until_captured(A_WHILE)
    assert rig.on_disk == rig.source.seqs
    log = rig.log_path.read_text()
    assert log.count("exited unexpectedly with code 0") == len(several)
    assert "Traceback" not in log


async def test_signals_that_come_one_by_one_until_the_end_cost_no_reading(tmp_path: Path) -> None:
    async with a_rig(tmp_path) as rig:
        await rig.until_captured(A_WHILE)
        pid, sent = rig.machine.pid, 0
        with suppress(ProcessLookupError):
            while rig.machine.pid == pid:
                os.kill(pid, ENDING[sent % len(ENDING)])
                sent += 1
                await asyncio.sleep(0.001)
        await until(lambda: rig.machine.pid != pid, "the next process")
        await rig.machine.wait_until_added()
        await rig.until_captured(A_WHILE)
    assert sent > 1
    assert rig.on_disk == rig.source.seqs


async def test_what_the_parent_ignores_stays_ignored_and_sigterm_ends_the_module(tmp_path: Path) -> None:
    """As `nohup viam-server &` in a script starts it."""
    inherits = tmp_path / "run.sh"
    inherits.write_text(f"#!/bin/sh\ntrap '' HUP INT QUIT TERM\nexec {RUN} \"$@\"\n")
    inherits.chmod(0o700)
    async with a_rig(tmp_path, inherits) as rig:
        pid = rig.machine.pid
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            os.kill(pid, number)
            await rig.until_captured(A_WHILE)
        assert rig.machine.pid == pid
        await rig.send(signal.SIGHUP, signal.SIGTERM)
        await rig.until_captured(A_WHILE)
    assert rig.on_disk == rig.source.seqs


STARTING = """
import os, signal
from module import main, signals

taken = signals.take
def take():
    ending = taken()
    for number in {numbers}:
        os.kill(os.getpid(), number)
    return ending

signals.take = take
main.run()
"""


@pytest.mark.parametrize("numbers", [[signal.SIGHUP], [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]])
def test_a_signal_during_the_start_ends_the_module_when_it_can_end_in_order(
    tmp_path: Path, numbers: Sequence[int]
) -> None:
    ended = run(STARTING.format(numbers=list(map(int, numbers))), str(tmp_path / "module.sock"))
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP), (signal.SIGINT, 130)]
)
def test_the_command_line_changes_no_file_and_ends_at_once(tmp_path: Path, number: int, code: int) -> None:
    pipe = tmp_path / "config.json"
    os.mkfifo(pipe)
    with subprocess.Popen(
        [sys.executable, "-m", "module.main", "config", "check", str(pipe)],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        with pipe.open("w"):  # waits until the command reads from it
            process.send_signal(number)
            assert process.wait(30) == code
        assert process.stdout is not None and process.stdout.read() == ""
