"""The faults of the torture are the rows of `FAULTS`, which says how to add one.

A fault that happens is a coroutine function. One that lasts is an async context manager, and lasts as long as its
block. Both get the rig and random numbers of their own. A fault that found nothing to do, or that had no effect
while it lasted, raises `NothingToDo` at its end.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from tests.e2e.machines import until

from .calls import Interruption
from .ruin import Ruined, damage, take_away
from .torture_rig import TortureRig, pick

_FIND_TIMEOUT_S = 1.5
_POLL_S = 0.003
_ASKED_TIMEOUT_S = 10.0
_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S

Happens = Callable[[TortureRig, random.Random], Coroutine[Any, Any, None]]
Lasts = Callable[[TortureRig, random.Random], AbstractAsyncContextManager[None]]


SMALL_DISK, MONGOD, LIBFAKETIME = "a small disk", "mongod", "libfaketime"


class NothingToDo(Exception):
    """The fault had no effect; for example, there was no file to damage."""


@dataclass(frozen=True)
class Fault:
    """A kind of fault. It either `happens` or `lasts`.

    Of the faults of one `group`, only one lasts at a time. One that `ends_process` never overlaps with a full disk.
    """

    name: str
    weight: int
    happens: Happens | None = None
    lasts: Lasts | None = None
    group: str = ""
    ends_process: bool = False
    needs: str = ""
    """What the computer must have for it: one of `SMALL_DISK`, `MONGOD`, `LIBFAKETIME`; or nothing."""


def _kill(kind: str) -> Happens:
    async def happens(rig: TortureRig, rng: random.Random) -> None:
        if not await rig.kill_now(kind):
            raise NothingToDo

    return happens


async def _restart(rig: TortureRig, rng: random.Random) -> None:
    await rig.restart()


async def _revoke(rig: TortureRig, rng: random.Random) -> None:
    rig.cloud.revoke_tokens()


async def _other_tags(rig: TortureRig, rng: random.Random) -> None:
    rig.reconfigure(tags=[f"tag-{rng.randrange(1000)}"])


async def _other_frequency(rig: TortureRig, rng: random.Random) -> None:
    rig.reconfigure(second_hz=rng.choice([1.0, 5.0, 10.0, 50.0]))


async def _collector_comes_or_goes(rig: TortureRig, rng: random.Random) -> None:
    rig.reconfigure(second_hz=None if rig.config["second_hz"] else 20.0)


async def _damage(rig: TortureRig, rng: random.Random) -> None:
    done = await _once_there_is(lambda: _ruin(rig, rng, lambda path: damage(path, rng)))
    account = rig.accounts[done.resource]
    account.damaged.update(done.seqs)
    account.headers_damaged += done.is_header


async def _take_away(rig: TortureRig, rng: random.Random) -> None:
    done = await _once_there_is(lambda: _ruin(rig, rng, take_away))
    rig.accounts[done.resource].taken_away.update(done.seqs)


def _ruin(rig: TortureRig, rng: random.Random, how: Callable[..., Ruined | None]) -> Ruined | None:
    path = pick(rng, rig.complete_files())
    done = how(path) if path else None
    if done:
        rig.ruined.append(done)
    return done


async def _file_appears(rig: TortureRig, rng: random.Random) -> None:
    rig.files.put(rng)


async def _file_changes(rig: TortureRig, rng: random.Random) -> None:
    """Puts a file that is changed as its upload begins, or soon after."""
    name, delay_s = rig.files.put(rng), rng.choice([0.0, 0.0, 0.005, 0.02])

    def when_sent(sent: str) -> None:
        if sent == name:
            rig.when_sent = None
            if delay_s:
                asyncio.get_running_loop().call_later(delay_s, rig.files.append, name, rng)
            else:
                rig.files.append(name, rng)

    rig.when_sent = when_sent


async def _file_is_taken_away(rig: TortureRig, rng: random.Random) -> None:
    name = rig.files.put(rng)
    await asyncio.sleep(rng.uniform(0, 1.0))
    if not rig.files.remove(name):
        raise NothingToDo


async def _once_there_is(attempt: Callable[[], Ruined | None]) -> Ruined:
    """Waits for a complete capture file; these are short-lived while sync works. Raises NothingToDo."""
    deadline_s = time.monotonic() + _FIND_TIMEOUT_S
    while (done := attempt()) is None:
        if time.monotonic() > deadline_s:
            raise NothingToDo
        await asyncio.sleep(_POLL_S)
    return done


async def _until_asked(rig: TortureRig, when: str) -> None:
    """Waits until the sensor is read. If it is not, capture has stopped, which is noted as wrong."""
    before = len(rig.source.served)
    try:
        await until(lambda: len(rig.source.served) > before, "it is asked", _ASKED_TIMEOUT_S)
    except AssertionError:
        rig.wrong.append(f"{rig.source.name} was not asked for {_ASKED_TIMEOUT_S:g} s {when}")


def _unless(felt: int) -> None:
    if not felt:
        raise NothingToDo


@asynccontextmanager
async def _cut(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
    async with _trouble(rig, "cut"):
        felt = rig.link.connections_count
        await rig.link.cut()
        yield
        await rig.link.restore()
    _unless(felt)


@asynccontextmanager
async def _cut_and_other_tags(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
    """Cuts the link and changes the tags, so that files with old and with new tags wait together."""
    async with _cut(rig, rng):
        await _other_tags(rig, rng)
        yield
        rig.see_what_is_on_disk()


@asynccontextmanager
async def _black_hole(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
    async with _trouble(rig, "black hole"):
        await rig.link.blackhole()
        yield
        felt = rig.link.connections_count
        await rig.link.restore()
    _unless(felt)


@asynccontextmanager
async def _killed_in_the_dark(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
    """Kills the module when it has been cut off for a while.

    While sync runs, it hands captured data to the disk before the flush interval does; here it did not.
    """
    async with _trouble(rig, "cut"):
        await rig.link.cut()
        yield
        felt = await rig.kill_now("module")
        await rig.link.restore()
    _unless(felt)


@asynccontextmanager
async def _trouble(rig: TortureRig, kind: str) -> AsyncIterator[None]:
    """Notes an interruption: what is in flight when it begins, during it, or just after it may arrive twice."""
    begin_ns = time.time_ns()
    rig.trouble = True
    yield
    rig.trouble = False
    rig.calls.interruptions.append(Interruption(0, kind, begin_ns, 0, is_kill=False, until_ns=time.time_ns()))


@asynccontextmanager
async def _delay(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
    before = rig.link.bytes_up
    rig.trouble, rig.link.delay_s = True, rng.uniform(0.05, 0.5)
    yield
    rig.trouble, rig.link.delay_s = False, 0.0
    _unless(rig.link.bytes_up - before)


@asynccontextmanager
async def _throttling(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
    before = rig.link.bytes_up
    rig.trouble, rig.link.bytes_per_s = True, rng.uniform(20_000, 200_000)
    yield
    rig.trouble, rig.link.bytes_per_s = False, 0.0
    _unless(rig.link.bytes_up - before)


def _code(code: grpc.StatusCode) -> Lasts:
    @asynccontextmanager
    async def lasts(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
        before, rig.code = rig.refused, code
        yield
        rig.code = None
        _unless(rig.refused - before)

    return lasts


@asynccontextmanager
async def _elsewhere(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
    rig.reconfigure(elsewhere=True)
    yield
    rig.reconfigure(elsewhere=False)


@asynccontextmanager
async def _full_disk(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
    assert rig.disk is not None
    free = await rig.fill_disk()
    yield
    felt = rig.disk.is_full
    await free()
    await _until_asked(rig, "after the disk was full")
    _unless(felt)


@asynccontextmanager
async def _mongo_killed(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
    assert rig.mongo is not None
    await asyncio.to_thread(rig.mongo.server.kill)
    yield
    await asyncio.to_thread(rig.mongo.server.start)


@asynccontextmanager
async def _mongo_held(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
    assert rig.mongo is not None
    rig.mongo.server.hold()
    yield
    rig.mongo.server.go_on()


@asynccontextmanager
async def _mongo_unheard(rig: TortureRig, rng: random.Random) -> AsyncIterator[None]:
    """Delays MongoDB's answers and loses the last ones, so that it has what the module does not know of."""
    assert rig.mongo is not None
    rig.mongo.link.delay_s = rng.uniform(0.05, 0.2)
    yield
    felt = rig.mongo.link.connections_count
    await rig.mongo.link.cut()
    rig.mongo.link.delay_s = 0.0
    await rig.mongo.link.restore()
    _unless(felt)


async def _clock_step(rig: TortureRig, rng: random.Random) -> None:
    """Sets the module's wall clock forward or back, by minutes up to years, or right again."""
    assert rig.clock is not None
    ahead_s = rng.choice([0, 0, 600, 5 * _HOUR_S, 30 * _DAY_S, 3 * 365 * _DAY_S])
    rig.clock.set(rng.choice([-1, 1]) * ahead_s)


FULL_DISK = "full disk"
FAULTS = (
    Fault("kill: module", 4, happens=_kill("module"), ends_process=True),
    Fault("kill: viam-server", 2, happens=_kill("server"), ends_process=True),
    Fault("kill: both", 2, happens=_kill("both"), ends_process=True),
    Fault("orderly restart", 2, happens=_restart, ends_process=True),
    Fault("tokens revoked", 3, happens=_revoke),
    Fault("other tags", 2, happens=_other_tags),
    Fault("other frequency", 2, happens=_other_frequency),
    Fault("a collector comes or goes", 3, happens=_collector_comes_or_goes),
    Fault("capture file damaged", 6, happens=_damage),
    Fault("capture file removed", 4, happens=_take_away),
    Fault("file appears", 4, happens=_file_appears),
    Fault("file changes while sent", 4, happens=_file_changes),
    Fault("file removed", 2, happens=_file_is_taken_away),
    Fault("link cut", 4, lasts=_cut, group="link"),
    Fault("link cut, and other tags", 2, lasts=_cut_and_other_tags, group="link"),
    Fault("black hole", 3, lasts=_black_hole, group="link"),
    Fault("link cut, then kill: module", 3, lasts=_killed_in_the_dark, group="link", ends_process=True),
    Fault("slow answers", 3, lasts=_delay, group="link"),
    Fault("throttled", 3, lasts=_throttling, group="link"),
    Fault("UNAVAILABLE", 2, lasts=_code(grpc.StatusCode.UNAVAILABLE), group="code"),
    Fault("INTERNAL", 2, lasts=_code(grpc.StatusCode.INTERNAL), group="code"),
    Fault("RESOURCE_EXHAUSTED", 2, lasts=_code(grpc.StatusCode.RESOURCE_EXHAUSTED), group="code"),
    Fault("UNAUTHENTICATED", 2, lasts=_code(grpc.StatusCode.UNAUTHENTICATED), group="code"),
    Fault("capture_dir elsewhere", 3, lasts=_elsewhere, group="folder"),
    Fault(FULL_DISK, 3, lasts=_full_disk, group="folder", needs=SMALL_DISK),
    Fault("mongod killed", 3, lasts=_mongo_killed, group="mongod", needs=MONGOD),
    Fault("mongod stands still", 3, lasts=_mongo_held, group="mongod", needs=MONGOD),
    Fault("link to mongod cut", 3, lasts=_mongo_unheard, group="mongod", needs=MONGOD),
    Fault("clock set", 4, happens=_clock_step, needs=LIBFAKETIME),
)
"""All faults, with the weights by which plans draw them.

To add one, write a function above and a row here. If it may cost readings, the accounts have to know, through the
rig. Each step of a plan has random numbers of its own; a new row changes the plans of all seeds.
"""
