"""The torture runs faults in random order on a real viam-server, and then judges what arrived by what was served.

    make torture MINUTES=5 SEED=1

Two sensors are captured, to the cloud and to MongoDB, and a camera, and arbitrary files appear. Meanwhile processes
are killed, the link is cut, dead, slow or throttled, the cloud answers with errors, MongoDB is down, the disk is
full, the module's clock is set, the config changes, and capture files and arbitrary files are damaged, changed and
removed. Faults that last overlap with others. Only a full disk never overlaps with a fault that ends a process or
moves the capture folder, since the counts are then only in memory. At the end capture stops, everything is synced,
and the accounts judge reading by reading and file by file.

The plan follows from the seed, the minutes, and the faults that this computer allows. The exact moments also depend
on the computer's timing. README.md says how to read the result, what is noticed and what is not.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests import mongod
from tests.e2e.machines import Status

from . import disks, faked_clock, strace
from .attention import neglect, share_asked, silences_s
from .calls import Calls
from .faults import FAULTS, FULL_DISK, LIBFAKETIME, MONGOD, SMALL_DISK, Fault, NothingToDo
from .mongo_side import MongoSide
from .result import Result
from .rigs import HZ, SENSOR, find_viam_server
from .sources import CAMERA
from .torture_rig import TortureRig

_WARM_UP_S = 1.0
_BETWEEN_S = (0.1, 2.0)
_LASTS_S = (0.5, 6.0)
_DISK_BYTES = 32 * disks.MEBIBYTE


@dataclass(frozen=True)
class Step:
    """One fault of a plan. `lasts_s` is 0 for one that happens and does not last."""

    at_s: float
    fault: Fault
    seed: int
    lasts_s: float = 0.0

    @property
    def end_s(self) -> float:
        return self.at_s + self.lasts_s


def plan(seed: int, seconds: float, faults: Sequence[Fault] = FAULTS) -> list[Step]:
    """Returns the faults within `seconds`, in their order.

    A fault that ends a process never overlaps with a full disk, and of each group only one fault lasts at a time.
    """
    rng = random.Random(seed)
    steps: list[Step] = []
    at_s = _WARM_UP_S
    while at_s < seconds:
        lasting = [step for step in steps if step.end_s > at_s]
        groups = {step.fault.group for step in lasting if step.fault.group}
        apart = {FULL_DISK} if any(step.fault.ends_process for step in lasting) else set()
        if any(step.fault.name == FULL_DISK for step in lasting):
            apart = {fault.name for fault in faults if fault.ends_process}
        possible = [fault for fault in faults if fault.group not in groups and fault.name not in apart]
        fault = rng.choices(possible, [each.weight for each in possible])[0]
        lasts_s = rng.uniform(*_LASTS_S) if fault.lasts else 0.0
        steps.append(Step(at_s, fault, rng.getrandbits(32), lasts_s))
        at_s += rng.uniform(*_BETWEEN_S)
    return steps


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
        usable = [fault for fault in faults if fault.needs not in skipped]
        self._steps = plan(seed, seconds, usable)
        self._result = Result(seed, seconds / 60, folder, planned=len(self._steps), skipped=skipped)
        self._rig: TortureRig
        self._began_s = 0.0

    async def run(self) -> Result:
        """Runs the plan, and returns the result. All that it started has ended then, and the disk is unmounted."""
        result = self._result
        started_s = time.monotonic()
        with ExitStack() as stack:
            disk = None
            if SMALL_DISK not in result.skipped:
                disk = stack.enter_context(disks.tmpfs(self._folder / "disk", _DISK_BYTES))
            mongo = clock = None
            if (path := mongod.binary()) is not None:
                server = mongod.Mongod(path, self._folder / "mongod")
                stack.callback(server.close)
                mongo = MongoSide(server)
            if LIBFAKETIME not in result.skipped:
                clock = faked_clock.FakedClock(self._folder / "clock")
            calls = Calls(random.Random(result.seed + 1))
            rig = self._rig = TortureRig(self._folder, self._server, calls, disk, mongo, clock)
            status: Status | None = None
            try:
                await rig.start()
                await self._faults()
                status = await rig.finish()
            except Exception as error:  # noqa: BLE001 - what arrived until then is judged all the same
                result.wrong.append(f"{type(error).__name__}: {error}")
                self._say(traceback.format_exc())
            finally:
                await rig.stop()
            self._judge(status)
            if not result.good and disk is not None:
                shutil.copytree(disk.folder, self._folder / "disk-as-it-was", symlinks=True)
        result.seconds = time.monotonic() - started_s
        return result

    async def _faults(self) -> None:
        """Runs each fault at its time, or later if the one before took longer.

        A fault that lasts ends before those that begin after its end.
        """
        self._began_s = time.monotonic()
        lasting: list[tuple[Step, AbstractAsyncContextManager[None]]] = []
        for step in self._steps:
            await self._end(lasting, step.at_s)
            await self._wait_until(step.at_s)
            rng = random.Random(step.seed)
            self._say(f"{time.monotonic() - self._began_s:6.1f} s: {step.fault.name} {step.lasts_s:.1f}")
            if step.fault.happens is not None:
                await self._try(step, step.fault.happens(self._rig, rng))
            if step.fault.lasts is not None:
                fault = step.fault.lasts(self._rig, rng)
                await fault.__aenter__()
                lasting.append((step, fault))
        await self._end(lasting, float("inf"))

    async def _try(self, step: Step, doing: Awaitable[object]) -> None:
        """Awaits a fault, and counts it: as one with an effect, or as one without."""
        try:
            await doing
        except NothingToDo:
            self._result.idle[step.fault.name] += 1
        else:
            self._result.faults[step.fault.name] += 1

    async def _end(self, lasting: list[tuple[Step, AbstractAsyncContextManager[None]]], before_s: float) -> None:
        for step, fault in sorted(lasting, key=lambda each: each[0].end_s):
            if step.end_s <= before_s:
                await self._wait_until(step.end_s)
                self._say(f"{time.monotonic() - self._began_s:6.1f} s: {step.fault.name} ends")
                lasting.remove((step, fault))
                await self._try(step, fault.__aexit__(None, None, None))

    async def _wait_until(self, at_s: float) -> None:
        await asyncio.sleep(self._began_s + at_s - time.monotonic())

    def _judge(self, status: Status | None) -> None:
        result, rig = self._result, self._rig
        for name, source in rig.sources.items():
            rows = [] if status is None else status["ledger"]["collectors"]
            ledger = next((row for row in rows if row["resource"] == name), None)
            if status is not None and ledger is None:
                result.wrong.append(f"the ledger does not know {name}")
            result.verdicts[name] = rig.accounts[name].verdict(source.served, ledger)
            if status is not None and rig.mongo is not None and name != CAMERA:
                result.in_mongo[name] = rig.mongo.verdict(rig.accounts[name], source.served)
        result.files = rig.files.verdict(status["files"] if status else None)
        end_ns = rig.ended_ns
        served = [each for each in rig.source.served if each.time_ns <= end_ns]
        result.longest_silences_s[SENSOR] = max(silences_s(served, end_ns), default=0.0)
        result.shares_asked[SENSOR] = share_asked(served, HZ, end_ns)
        result.wrong += [f"{SENSOR} {each}" for each in neglect(served, HZ, end_ns)]
        result.wrong += [*rig.wrong, *(f"left: {each}" for each in rig.left()), *rig.misplaced()]


async def _until_sigterm(torture: Torture) -> Result:
    """Runs the torture. SIGTERM ends it like Ctrl-C: nothing stays mounted, and no process is left."""
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
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes", flush=True)
    torture = Torture(folder, find_viam_server(), arguments.seed, arguments.minutes * 60, say=say)
    result = asyncio.run(_until_sigterm(torture))
    print(result)
    if result.good:
        shutil.rmtree(folder)
    return 0 if result.good and not (result.skipped and strace.IS_CI) else 1


if __name__ == "__main__":
    sys.exit(main())
