"""Everything at once: faults in random order on a real viam-server, then the cloud's record against the source's.

    make torture MINUTES=5 SEED=1

Two sensors are captured, to MongoDB too, and arbitrary files appear, while processes are killed, the link is cut,
dead, slow or throttled, the cloud answers with errors, MongoDB is away, the disk is full, the module's clock is
set, the config changes, and others damage, change and remove files. What lasts overlaps with what happens; a full
disk alone is kept apart from whatever ends a process or moves the capture folder, since then the counts can be
nowhere but in memory. In the end capture stops, everything is synced, and the accounts judge reading by reading and
file by file.
The plan follows from seed and minutes; the moments within it add what the computer's own timing adds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests import mongod
from tests.e2e.machines import Status

from . import disks, faked_clock, strace
from .account import Verdict
from .calls import SECOND_NS, Calls
from .faults import FAULTS, FULL_DISK, LIBFAKETIME, MONGOD, SMALL_DISK, Fault, NothingToDo
from .file_account import FileVerdict
from .rigs import SENSOR, find_viam_server
from .tables import counted, rows_of
from .torture_rig import SECOND, TortureRig

_WARM_UP_S = 1.0
_BETWEEN_S = (0.1, 2.0)
_LASTS_S = (0.5, 6.0)
_DISK_BYTES = 16 * disks.MEBIBYTE


@dataclass(frozen=True)
class Step:
    """One fault of a plan; `lasts_s` is 0 for one that only happens."""

    at_s: float
    fault: Fault
    seed: int
    lasts_s: float = 0.0

    @property
    def end_s(self) -> float:
        return self.at_s + self.lasts_s


def plan(seed: int, seconds: float, faults: Sequence[Fault] = FAULTS) -> list[Step]:
    """What happens within `seconds`. Nothing that ends a process falls into a time when the disk is full, and of
    each group only one thing lasts at a time."""
    rng = random.Random(seed)
    steps: list[Step] = []
    at_s = _WARM_UP_S
    while at_s < seconds:
        lasting = [step for step in steps if step.end_s > at_s]
        groups = {step.fault.group for step in lasting if step.fault.group}
        full = any(step.fault.name == FULL_DISK for step in lasting)
        possible = [fault for fault in faults if fault.group not in groups and not (full and fault.ends_process)]
        fault = rng.choices(possible, [each.weight for each in possible])[0]
        lasts_s = rng.uniform(*_LASTS_S) if fault.lasts else 0.0
        steps.append(Step(at_s, fault, rng.getrandbits(32), lasts_s))
        at_s += rng.uniform(*_BETWEEN_S)
    return steps


@dataclass
class Result:
    """A whole run."""

    seed: int
    folder: Path
    faults: Counter[str] = field(default_factory=Counter)
    idle: Counter[str] = field(default_factory=Counter)
    """Faults that found nothing to do."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    files: FileVerdict = field(default_factory=FileVerdict)
    wrong: list[str] = field(default_factory=list)
    in_mongo: dict[str, Verdict] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Why faults are left out, by what they need."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return (
            not self.wrong
            and self.files.good
            and all(each.good for each in (*self.verdicts.values(), *self.in_mongo.values()))
        )

    def __str__(self) -> str:
        rows = [("seed", f"{self.seed}"), ("faults", f"{sum(self.faults.values())}")]
        rows += [(f"  {name}", f"{count}") for name, count in sorted(self.faults.items())]
        rows += [("found nothing to do", counted(self.idle))]
        for name, verdict in self.verdicts.items():
            rows += [(f"{name}: {what}", value) for what, value in _reading_rows(verdict)]
        for name, verdict in self.in_mongo.items():
            rows += [(f"{name}, MongoDB: {what}", value) for what, value in _mongo_rows(verdict)]
        rows += [(f"files: {what}", value) for what, value in _file_rows(self.files)]
        rows += [("seconds", f"{self.seconds:.1f}"), ("verdict", "good" if self.good else "NOT GOOD")]
        wrong = [*self.wrong, *self.files.miscounted, *self.files.examples]
        for verdict in (*self.verdicts.values(), *self.in_mongo.values()):
            wrong += [*verdict.miscounted, *verdict.examples]
        return "\n".join(
            [
                *rows_of(rows),
                *(f"SKIPPED: what needs {what}: {why}" for what, why in self.skipped.items()),
                *(f"WRONG: {each}" for each in wrong),
                *([] if self.good else [f"everything is kept in {self.folder}"]),
            ]
        )


def _reading_rows(verdict: Verdict) -> list[tuple[str, str]]:
    oldest_s = verdict.oldest_lost_ns / SECOND_NS
    return [
        ("served, arrived", f"{verdict.served}, {verdict.arrived}"),
        ("lost within the interval", f"{verdict.lost_within}, the oldest {oldest_s:.2f} s before its kill"),
        ("removed, damaged, no space", f"{verdict.taken_away}, {verdict.damaged}, {verdict.no_space}"),
        ("lost beyond", f"{verdict.lost_beyond}"),
        ("twice, allowed, beyond", f"{verdict.twice}, {verdict.twice_allowed}, {verdict.twice_beyond}"),
        ("altered, invented", f"{verdict.altered}, {verdict.invented}"),
        ("miscounted", f"{len(verdict.miscounted)}"),
    ]


def _mongo_rows(verdict: Verdict) -> list[tuple[str, str]]:
    return [
        ("there", f"{verdict.arrived}"),
        ("lost within, no space, beyond", f"{verdict.lost_within}, {verdict.no_space}, {verdict.lost_beyond}"),
        ("twice, altered, invented", f"{verdict.twice}, {verdict.altered}, {verdict.invented}"),
    ]


def _file_rows(verdict: FileVerdict) -> list[tuple[str, str]]:
    return [
        ("put, changed, removed", f"{verdict.put}, {verdict.changed}, {verdict.removed}"),
        ("arrived, lost", f"{verdict.arrived}, {verdict.lost}"),
        ("twice, beyond", f"{verdict.twice}, {verdict.twice_beyond}"),
        ("altered, invented", f"{verdict.altered}, {verdict.invented}"),
        ("miscounted", f"{len(verdict.miscounted)}"),
    ]


class Torture:
    """One run in `folder`, which must be empty."""

    def __init__(
        self,
        folder: Path,
        server: Path,
        seed: int,
        seconds: float,
        *,
        faults: Sequence[Fault] = FAULTS,
        say: Callable[[str], None] = print,
    ) -> None:
        self._folder = folder
        self._server = server
        self._say = say
        problems = {
            SMALL_DISK: disks.problem(),
            MONGOD: None if mongod.binary() else mongod.REASON,
            LIBFAKETIME: faked_clock.problem(),
        }
        skipped = {what: why for what, why in problems.items() if why}
        self._result = Result(seed, folder, skipped=skipped)
        usable = [fault for fault in faults if fault.needs not in skipped]
        self._steps = plan(seed, seconds, usable)
        self._rig: TortureRig
        self._began_s = 0.0

    async def run(self) -> Result:
        """Everything that it started has ended when it returns, and the disk is unmounted."""
        result = self._result
        started_s = time.monotonic()
        with ExitStack() as stack:
            disk = None
            if SMALL_DISK not in result.skipped:
                disk = stack.enter_context(disks.tmpfs(self._folder / "disk", _DISK_BYTES))
            server = clock = None
            if (path := mongod.binary()) is not None:
                server = mongod.Mongod(path, self._folder / "mongod")
                stack.callback(server.close)
            if LIBFAKETIME not in result.skipped:
                clock = faked_clock.FakedClock(self._folder / "clock")
            calls = Calls(random.Random(result.seed + 1))
            rig = self._rig = TortureRig(self._folder, self._server, calls, disk, server, clock)
            status: Status | None = None
            try:
                await rig.start()
                await self._faults()
                status = await rig.finish()
            except (asyncio.TimeoutError, TimeoutError, AssertionError, RuntimeError) as error:
                result.wrong.append(f"{type(error).__name__}: {error}")
            finally:
                await rig.stop()
            self._judge(status)
            if not result.good and disk is not None:
                shutil.copytree(disk.folder, self._folder / "disk-as-it-was", symlinks=True)
        result.seconds = time.monotonic() - started_s
        return result

    async def _faults(self) -> None:
        """Each at its time, or late when the one before took longer; what lasts ends before what comes later."""
        self._began_s = time.monotonic()
        lasting: list[tuple[Step, AbstractAsyncContextManager[None]]] = []
        for step in self._steps:
            await self._end(lasting, step.at_s)
            await self._wait_until(step.at_s)
            rng = random.Random(step.seed)
            self._say(f"{time.monotonic() - self._began_s:6.1f} s: {step.fault.name} {step.lasts_s:.1f}")
            try:
                if step.fault.happens is not None:
                    await step.fault.happens(self._rig, rng)
                if step.fault.lasts is not None:
                    fault = step.fault.lasts(self._rig, rng)
                    await fault.__aenter__()
                    lasting.append((step, fault))
            except NothingToDo:
                self._result.idle[step.fault.name] += 1
            else:
                self._result.faults[step.fault.name] += 1
        await self._end(lasting, float("inf"))

    async def _end(self, lasting: list[tuple[Step, AbstractAsyncContextManager[None]]], before_s: float) -> None:
        for step, fault in sorted(lasting, key=lambda each: each[0].end_s):
            if step.end_s <= before_s:
                await self._wait_until(step.end_s)
                self._say(f"{time.monotonic() - self._began_s:6.1f} s: {step.fault.name} ends")
                lasting.remove((step, fault))
                await fault.__aexit__(None, None, None)

    async def _wait_until(self, at_s: float) -> None:
        await asyncio.sleep(self._began_s + at_s - time.monotonic())

    def _judge(self, status: Status | None) -> None:
        result, rig = self._result, self._rig
        for name, source in ((SENSOR, rig.source), (SECOND, rig.second)):
            ledger = None
            if status is not None:
                rows = [row for row in status["ledger"]["collectors"] if row["resource"] == name]
                with contextlib.suppress(IndexError):
                    ledger = rows[0]
            result.verdicts[name] = rig.accounts[name].verdict(source.served, ledger)
            if status is not None and (in_mongo := rig.in_mongo(name)) is not None:
                result.in_mongo[name] = in_mongo
        result.files = rig.files.verdict(status["files"] if status else None)
        result.wrong += [*rig.wrong, *(f"left: {each}" for each in rig.left()), *rig.misplaced()]


async def _until_sigterm(torture: Torture) -> Result:
    """SIGTERM ends it as Ctrl-C does: nothing stays mounted, and no process stays."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await torture.run()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The faults: " + ", ".join(fault.name for fault in FAULTS) + ".",
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--verbose", action="store_true", help="a line for each fault")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    say = print if arguments.verbose else lambda _: None
    torture = Torture(folder, find_viam_server(), arguments.seed, arguments.minutes * 60, say=say)
    result = asyncio.run(_until_sigterm(torture))
    print(result)
    if result.good:
        shutil.rmtree(folder)
    return 0 if result.good and not (result.skipped and strace.IS_CI) else 1


if __name__ == "__main__":
    sys.exit(main())
