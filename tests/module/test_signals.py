"""Each signal of the system has its place in the table, and importing the module leaves all of them as they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from module.signals import ACTIONS, Action, name_of

FAULTS = {f"SIG{name}" for name in ("ABRT", "BUS", "FPE", "ILL", "SEGV", "SYS", "TRAP", "EMT", "KILL", "STOP")}
ROOT = Path(__file__).parent.parent.parent


def test_every_signal_of_this_system_is_in_the_table() -> None:
    assert set(map(int, signal.valid_signals())) - set(ACTIONS) == set()


@pytest.mark.parametrize("number", sorted(number for number, act in ACTIONS.items() if act is Action.LEAVE))
def test_what_is_left_alone_ends_no_program_or_can_not_be_taken(number: int) -> None:
    if name_of(number) in FAULTS:
        return
    program = f"import os; os.kill(os.getpid(), {number}); print('lives')"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "lives\n"


def test_the_module_starts_no_thread_before_it_takes_the_signals() -> None:
    """A thread from before would be ended by them, and the process with it."""
    program = "import os, module.main; print(len(os.listdir('/proc/self/task')))"
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "1\n"


def test_what_is_ignored_neither_ends_the_module_nor_stops_it(tmp_path: Path) -> None:
    """It has a group of its own, as viam-server gives it, where a terminal can stop it. A stopped process does not
    end by SIGTERM."""
    with subprocess.Popen(
        [sys.executable, "-m", "module.main", str(tmp_path / "module.sock")],
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=os.setpgrp,
    ) as process:
        assert process.stdout is not None and "Serving on" in process.stdout.readline()
        for number in [number for number, action in ACTIONS.items() if action is Action.IGNORE]:
            process.send_signal(number)
        process.terminate()
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
