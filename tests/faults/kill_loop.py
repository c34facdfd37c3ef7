"""The kill loop kills the data manager again and again in one capture folder, and then compares what arrived in the
cloud with what the sensor served.

    PYTHONPATH=src:. python -m tests.faults.kill_loop --rounds 100 --seed 1 [--machine viam-server]

A sensor counts at 100 Hz, files rotate often, sync runs three times a second, and in a quarter of the rounds the
cloud is down for a while. In each round one of these dies by SIGKILL: the module, viam-server, both, or the module
as it enters a chosen system call (see `strace`), sometimes before it is up. The next round continues in the same
folder. At the end capture stops, everything is synced, and `account` judges. The plan of the rounds follows from
the seed; the exact moments also depend on the computer's timing.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import demo.machine

from . import strace
from .account import Account, Verdict
from .calls import SECOND_NS, Calls, Interruption
from .rigs import FLUSH_INTERVAL_MS, LocalRig, Rig, ServerRig, bare, find_viam_server, left, numbered, on_disk
from .tables import counted, rows_of

START_LIMIT_S = 20.0
GIVE_UP_S = 60.0
TRAP_SHARE = 0.6

_MAX_LIFE_S = 1.3
_LONG_SHARE = 0.1
_LONG_LIFE_S = (2.0, 4.0)
_EARLY_SHARE = 0.25
_AWAY_SHARE = 0.25
_MOST_CALLS = {"rename": 6, "unlink": 4, "truncate": 1, "fsync": 4, "write": 6, "openat": 6}
"""The call at which the module dies is drawn from this many first ones of its thread, by kind."""
_AT_START_ONLY = frozenset({"truncate"})
"""The lock is truncated at the start. Nothing else is: kills leave no torn ends for recovery to cut off."""


@dataclass(frozen=True)
class Plan:
    """The plan of one round."""

    kind: str
    """What is killed: the module, viam-server (`server`) or both."""
    life_s: float
    """For how long the module captures before it dies; with a trap, how long the trap may take to spring."""
    trap: str = ""
    """A kind of system call; empty: the loop kills without a trap."""
    when: int = 1
    early: bool = False
    """Whether the trap is set as soon as there is a process."""
    away_s: float | None = None
    """When the cloud goes down, counted from the first reading; it is up again before the next round."""


@dataclass
class Result:
    """The result of a whole run."""

    machine: str
    seed: int
    rounds: int
    folder: Path
    verdict: Verdict = field(default_factory=Verdict)
    kills: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    unsprung: Counter[str] = field(default_factory=Counter)
    """Traps for calls that did not come in time; the loop killed the module instead."""
    cuts: int = 0
    failed_starts: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What is in the capture folder at the end and must not be."""
    undrained: str = ""
    seconds: float = 0.0
    no_strace: str = ""

    @property
    def good(self) -> bool:
        return self.verdict.good and not (self.failed_starts or self.left or self.undrained)

    def __str__(self) -> str:
        verdict = self.verdict
        rows = [
            ("machine, seed", f"{self.machine}, {self.seed}"),
            ("rounds", f"{self.rounds}"),
            ("kills", counted(self.kills)),
            ("at the call", counted(self.calls)),
            ("the call did not come", counted(self.unsprung)),
            ("cuts", f"{self.cuts}"),
            ("served", f"{verdict.served}"),
            ("arrived", f"{verdict.arrived}"),
            ("seen on the disk at a kill", f"{verdict.seen_on_disk}"),
            (
                "lost within the flush interval",
                f"{verdict.lost_within}, the oldest {verdict.oldest_lost_ns / SECOND_NS:.2f} s before its kill",
            ),
            ("lost beyond", f"{verdict.lost_beyond}"),
            ("twice", f"{verdict.twice}, of {verdict.twice_answered} the answer was out"),
            ("twice, allowed", f"{verdict.twice_allowed}"),
            ("twice, beyond", f"{verdict.twice_beyond}"),
            ("altered, invented", f"{verdict.altered}, {verdict.invented}"),
            ("failed starts", f"{len(self.failed_starts)}"),
            ("left in the folder", f"{len(self.left)}"),
            ("seconds", f"{self.seconds:.1f}"),
        ]
        undrained = [self.undrained] if self.undrained else []
        wrong = [*self.failed_starts, *undrained, *self.left, *verdict.miscounted, *verdict.examples]
        return "\n".join(
            [
                *rows_of(rows),
                *([f"without strace: {self.no_strace}"] if self.no_strace else []),
                *(f"WRONG: {each}" for each in wrong),
                *([] if self.good else [f"everything is kept in {self.folder}"]),
            ]
        )


def _plan(rng: random.Random, kinds: Sequence[str], trap_share: float, *, early: bool) -> Plan:
    if rng.random() < _LONG_SHARE:
        # While sync runs, it hands everything to the disk; only without a cloud does the flush interval do it.
        return Plan(rng.choice(kinds), rng.uniform(*_LONG_LIFE_S), away_s=0.0)
    life_s = rng.uniform(0, _MAX_LIFE_S)
    away_s = rng.uniform(0, life_s) if rng.random() < _AWAY_SHARE else None
    if rng.random() >= trap_share:
        return Plan(rng.choice(kinds), life_s, away_s=away_s)
    calls = rng.choice([calls for calls in _MOST_CALLS if early or calls not in _AT_START_ONLY])
    when = rng.randint(1, _MOST_CALLS[calls])
    # When the process begins, no thread writes files yet.
    early = early and calls not in strace.OF_FILE_WRITERS
    early = early and (calls in _AT_START_ONLY or rng.random() < _EARLY_SHARE)
    return Plan("module", _MAX_LIFE_S, calls, when, early, away_s)


class KillLoop:
    """One run in `folder`, which must be empty."""

    def __init__(
        self,
        folder: Path,
        rounds: int,
        seed: int,
        *,
        server: Path | None = None,
        trap_share: float = TRAP_SHARE,
        say: Callable[[str], None] = print,
    ) -> None:
        """`server` is the viam-server to run; with None it is the local machine.

        `trap_share` of the rounds, 0 to 1, end at a system call. Without strace none does, and the result says so.
        """
        rng = random.Random(seed)
        self._calls = Calls(random.Random(seed + 1))
        self._account = Account("counting", bare if server else numbered, self._calls)
        self._rig: Rig = (
            ServerRig(folder, server, self._account.note_reading)
            if server
            else LocalRig(folder, self._account.note_reading)
        )
        no_strace = (strace.problem() or "") if trap_share else ""
        share = 0.0 if no_strace else trap_share
        self._plans = [_plan(rng, self._rig.kinds, share, early=not server) for _ in range(rounds)]
        self._result = Result("viam-server" if server else "local", seed, rounds, folder, no_strace=no_strace)
        self._say = say
        self._pid = 0
        self._down_since_s = 0.0
        self._cloud_is_away = False

    async def run(self) -> Result:
        """Runs all rounds, and returns the result. Everything that it started has ended then."""
        result = self._result
        started_s = time.monotonic()
        self._rig.cloud.before_answer = self._calls.before_answer
        self._rig.cloud.fail_while = self._note_login
        # Without this, a module that was killed before it was up would be started again only seconds later.
        with patch.multiple(demo.machine, RESTART_INTERVAL_S=0.1, READY_POLL_S=0.02):
            await self._rig.start()
            self._down_since_s = time.monotonic()
            ledger: Mapping[str, Any] | None = None
            try:
                for number, plan in enumerate(self._plans, 1):
                    await self._round(number, plan)
                self._pid = await self._rig.next_process(self._pid, GIVE_UP_S)
                await self._until_captures(len(self._plans) + 1)
                ledger = (await self._rig.drain())["readings"]
            except (asyncio.TimeoutError, TimeoutError) as error:
                kills = sum(result.kills.values())
                result.failed_starts.append(f"not up {GIVE_UP_S:g} s after kill {kills}: {error}")
            except AssertionError as error:
                result.undrained = str(error)
            finally:
                await self._rig.stop()
        result.left = left(self._rig.capture_dir)
        if self._rig.cloud.files_count:
            result.left.append(f"{self._rig.cloud.files_count} files that are no capture files: the cloud has them")
        result.verdict = self._account.verdict(self._rig.served, ledger)
        result.seconds = time.monotonic() - started_s
        return result

    def _note_login(self, method: str, _request: bytes | None) -> None:
        if method == "Authenticate":
            self._calls.note_login()

    async def _round(self, number: int, plan: Plan) -> None:
        self._pid = await self._rig.next_process(self._pid, GIVE_UP_S)
        trap = None
        try:
            if plan.trap and plan.early:
                trap = await self._set_trap(number, plan)
                death = await trap.sprung(plan.life_s)
                if death is None:
                    await self._until_captures(number)
            else:
                await self._until_captures(number)
                trap = await self._set_trap(number, plan) if plan.trap else None
                death = None
            if death is None:
                death = await self._live(number, plan, trap)
            if death is None:
                await self._kill(number, plan)
            else:
                self._note(number, f"at {plan.trap}{' early' if plan.early else ''}", death.at_ns, death.call)
        finally:
            if trap is not None:
                await trap.close()
        self._account.on_disk |= {seq for _, seq in on_disk(self._rig.capture_dir)}
        if self._cloud_is_away:
            self._cloud_is_away = False
            await self._rig.cloud.start()

    async def _set_trap(self, number: int, plan: Plan) -> strace.Trap:
        trap = strace.Trap(self._pid, plan.trap, plan.when, self._result.folder / f"strace-{number}.log")
        await trap.set()
        return trap

    async def _live(self, number: int, plan: Plan, trap: strace.Trap | None) -> strace.Death | None:
        """Waits while the module captures. Returns the death if a trap killed it meanwhile."""
        left_s = plan.life_s
        for stage_s, cut in ((plan.away_s, True), (plan.life_s, False)):
            if stage_s is None:
                continue
            wait_s = max(0.0, min(stage_s, left_s))
            left_s -= wait_s
            if trap is None:
                await asyncio.sleep(wait_s)
            elif (death := await trap.sprung(wait_s)) is not None:
                return death
            if cut:
                self._calls.interruptions.append(Interruption(number, "cut", time.time_ns(), 0, is_kill=False))
                self._result.cuts += 1
                self._cloud_is_away = True
                await self._rig.cloud.stop()
        return None

    async def _kill(self, number: int, plan: Plan) -> None:
        if plan.trap:
            self._result.unsprung[plan.trap] += 1
        self._note(number, plan.kind, time.time_ns())
        await self._rig.kill(plan.kind, self._pid)

    def _note(self, number: int, kind: str, at_ns: int, call: str = "") -> None:
        # When viam-server alone dies, the module has time to write everything down.
        exposure_ns = 0 if kind == "server" else FLUSH_INTERVAL_MS * SECOND_NS // 1000
        self._calls.interruptions.append(Interruption(number, kind, at_ns, exposure_ns, call))
        self._down_since_s = time.monotonic()
        self._result.kills[kind] += 1
        if call:
            self._result.calls[call.partition("(")[0]] += 1
        self._say(f"round {number}: {kind} {call}")

    async def _until_captures(self, number: int) -> None:
        await self._rig.until_captures(self._pid, GIVE_UP_S)
        took_s = time.monotonic() - self._down_since_s
        if took_s > START_LIMIT_S:
            self._result.failed_starts.append(f"round {number}: it took {took_s:.1f} s until the module captured")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill_loop", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--machine", choices=("local", "viam-server"), default="local")
    parser.add_argument("--verbose", action="store_true", help="a line for each round")
    arguments = parser.parse_args()
    server = find_viam_server() if arguments.machine == "viam-server" else None
    folder = Path(tempfile.mkdtemp(prefix="kill-loop-"))
    say = print if arguments.verbose else lambda _: None
    loop = KillLoop(folder, arguments.rounds, arguments.seed, server=server, say=say)
    result = asyncio.run(loop.run())
    print(result)
    if result.good:
        shutil.rmtree(folder)
    return 0 if result.good and not (result.no_strace and strace.IS_CI) else 1


if __name__ == "__main__":
    sys.exit(main())
