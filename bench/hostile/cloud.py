"""This program is a hostile cloud: it logs in and accepts half of what comes, and does to the rest what no cloud
should.

`python -m bench.hostile.cloud FOLDER SEED KIND` prints its address. What it does to the nth call depends on the
seed alone. With another kind than `HOSTILE` it accepts everything.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from h2.errors import ErrorCodes
from viam.proto.rpc.auth import AuthenticateResponse

from tests.sync.raw_cloud import Call, RawCloud

from .give_way import give_way
from .journal import Journal

Behaviour = Callable[[Call, random.Random], Awaitable[None]]
HOSTILE = "hostile"
_ACCEPTED = 0.6
_HANGS_S = 20.0
_TEXTS = (
    "refused", "x" * 5_000, "x" * 12_000, "%00%0A%1B[2J 2026-01-01 ERROR forged", "%FF%FE" * 500, "key",
    "Bearer token",
)  # fmt: skip


async def accept(call: Call, chance: random.Random) -> None:
    await call.ended.wait()
    call.answer()


async def refuse(call: Call, chance: random.Random) -> None:
    """Answers with any code, also with those that there are not, and any text."""
    await call.ended.wait()
    call.answer(code=chance.choice((*range(1, 18), -1, 10**30)), why=chance.choice(_TEXTS))


async def refuse_as_invalid(call: Call, chance: random.Random) -> None:
    await call.ended.wait()
    call.answer(code=3, why=chance.choice(_TEXTS))


async def accept_too_early(call: Call, chance: random.Random) -> None:
    await call.begun.wait()
    call.answer()


async def refuse_too_early(call: Call, chance: random.Random) -> None:
    await call.begun.wait()
    call.answer(code=chance.randrange(1, 17), why=chance.choice(_TEXTS))


async def hang(call: Call, chance: random.Random) -> None:
    await asyncio.sleep(chance.uniform(1.0, _HANGS_S))
    call.answer()


async def be_a_web_server(call: Call, chance: random.Random) -> None:
    await call.ended.wait()
    call.answer_http(chance.choice((200, 302, 400, 404, 429, 500, 503)), b"<html>" * chance.choice((1, 1000)))


async def reset(call: Call, chance: random.Random) -> None:
    await call.begun.wait()
    call.reset(chance.choice(list(ErrorCodes)))


async def cut(call: Call, chance: random.Random) -> None:
    await call.begun.wait()
    call.wire.cut()


async def go_away(call: Call, chance: random.Random) -> None:
    await call.ended.wait()
    call.wire.go_away()


async def answer_nonsense(call: Call, chance: random.Random) -> None:
    await call.ended.wait()
    call.answer(chance.randbytes(chance.choice((1, 100, 30_000))))


BEHAVIOURS: Mapping[str, Behaviour] = {
    each.__name__: each
    for each in (
        refuse, refuse_as_invalid, accept_too_early, refuse_too_early, hang, be_a_web_server, reset, cut, go_away,
        answer_nonsense,
    )
}  # fmt: skip


def token(chance: random.Random) -> str:
    """Returns a token: half of them are usual, the others are what no client expects."""
    payloads = (
        "[" * 5_000 + "]" * 5_000, '{"exp": 1e400}', f'{{"exp": 1{"0" * 400}}}', '{"exp": -1}', '{"exp": "x"}', "7",
        "{", json.dumps({"exp": 1 << 62}), "null", json.dumps({"x": "y" * 5_000}),
    )  # fmt: skip
    if chance.random() < 0.5:
        return "token"
    encoded = base64.urlsafe_b64encode(chance.choice(payloads).encode()).decode()
    strange = ("", "a\nb", "a\0b", "tökén", "x" * 7_000, "a.b.c", "....", " ")
    return chance.choice((f"e30.{encoded}.x", *strange))


class HostileCloud:
    """A `RawCloud` whose behaviour a seed gives."""

    def __init__(self, seed: str, journal: Journal, *, hostile: bool) -> None:
        self._calls = random.Random(f"{seed}/calls")
        self._logins = random.Random(f"{seed}/logins")
        self._journal = journal
        self.raw = RawCloud(self._behave)
        if hostile:
            self.raw.log_in = self._log_in
        self._accepted = _ACCEPTED if hostile else 1.0

    async def _behave(self, call: Call) -> None:
        self.raw.calls.clear()  # they hold all that was received
        chance = random.Random(self._calls.random())
        name = "accept" if chance.random() < self._accepted else chance.choice(list(BEHAVIOURS))
        behaviour = BEHAVIOURS.get(name, accept)
        with self._journal.during(f"{call.method}: {name}"):
            await behaviour(call, chance)

    async def _log_in(self, call: Call) -> None:
        await call.ended.wait()
        chance = random.Random(self._logins.random())
        if chance.random() < 0.2:
            await refuse(call, chance)
            return
        given = token(chance)
        with self._journal.during(f"login: the token {given[:40]!r} of {len(given):,} characters"):
            call.answer(AuthenticateResponse(access_token=given).SerializeToString())


async def main(folder: Path, seed: str, kind: str) -> None:
    hostile = HostileCloud(seed, Journal(folder / "cloud.jsonl", "cloud"), hostile=kind == HOSTILE)
    async with hostile.raw as cloud:
        print(cloud.address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    give_way()
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
