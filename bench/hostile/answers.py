"""This program makes the answers of hostile components, one after the other, for `bench.hostile.source`.

`python -m bench.hostile.answers SOCKET FOLDER SEED` serves one method, `NEXT`: the request names a method of a
component, and the answer is a pickled `Answer` for it. The nth answer for a method depends on the seed alone.
"""

from __future__ import annotations

import asyncio
import math
import pickle
import random
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from holdfast.capture.methods import lookup

from .components import CAMERA, GENERIC, LARGEST_BYTES, SENSOR, Hostile, images, many, nested, strange
from .give_way import give_way
from .journal import Journal

NEXT = "/bench.hostile.Answers/Next"
MAX_MESSAGE_BYTES = 256 << 20
_HANDLED_S = 0.5
"""How long the module may be busy with an answer that it has received."""
_LEAST_BYTES = 1000
_ERRORS, _MANY = 0.1, 0.4
"""The shares of errors, and of answers with as many parts as fit into a size. The others are strange."""
_MUTATED = 0.3
"""The share of messages that are changed in places."""
_TEXTS = (
    "",
    "no such thing",
    "x" * 7000,
    "x" * 100_000,
    "\0\n\x1b[2J\u202e 2026-01-01 ERROR forged",
    "\ufffe" * 2000,
)

if TYPE_CHECKING:  # generic in their stubs only
    Context = grpc.aio.ServicerContext[bytes, bytes]
    Handler = grpc.RpcMethodHandler[bytes, bytes]


@dataclass(frozen=True)
class Answer:
    """What a component answers: a message, several of a stream, or an error if `code` is not 0."""

    what: str
    messages: tuple[bytes, ...] = ()
    code: int = 0
    details: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({len(self.messages):,} messages, {sum(map(len, self.messages)):,} bytes)"


def _usual() -> list[Hostile]:
    """Returns answers as any component gives them: what is captured of these gives the disk and the cloud work."""
    return [
        Hostile("an image", CAMERA, "GetImages", lambda: [images(1, b"\xff\xd8\xff" + bytes(100_000))]),
        Hostile("a reading", SENSOR, "Readings", lambda: [nested(3)]),
        Hostile("a result", GENERIC, "DoCommand", lambda: [nested(2)]),
    ]


class Answers(grpc.GenericRpcHandler):
    """Makes the answers of each method in an order that the seed gives."""

    def __init__(self, seed: str, journal: Journal, largest_bytes: int = LARGEST_BYTES) -> None:
        self._seed = seed
        self._largest_bytes = largest_bytes
        self._journal = journal
        self._strange = _by_rpc([*strange(), *_usual()])
        self._many = _by_rpc(many())
        self._randoms: dict[str, random.Random] = {}

    def next(self, rpc: str) -> Answer:
        """Returns the next answer for a method."""
        chance = self._randoms.setdefault(rpc, random.Random(f"{self._seed}/{rpc}"))
        roll, known = chance.random(), _by_service(rpc)
        if roll < _ERRORS or not (self._strange[known] or self._many[known]):
            code, details = chance.randrange(1, 17), chance.choice(_TEXTS)
            return Answer(f"the error {code} with {len(details):,} characters", code=code, details=details)
        if (roll < _ERRORS + _MANY or not self._strange[known]) and self._many[known]:
            size_bytes = int(math.exp(chance.uniform(math.log(_LEAST_BYTES), math.log(self._largest_bytes))))
            wanted = chance.choice(self._many[known]).name
            made = next(each for each in _by_rpc(many(size_bytes))[known] if each.name == wanted)
        else:
            made = chance.choice(self._strange[known])
        messages = tuple(made.messages())
        if chance.random() < _MUTATED:
            return Answer(f"{made.name}, mutated", tuple(mutated(each, chance) for each in messages))
        return Answer(made.name, messages)

    def service(self, details: grpc.HandlerCallDetails) -> Handler | None:
        async def handle(request: bytes, context: Context) -> bytes:
            rpc = request.decode()
            answer = self.next(rpc)
            size_bytes = sum(map(len, answer.messages))
            what = (
                f"{rpc.rpartition('/')[2]}: {answer.what} ({len(answer.messages):,} messages, {size_bytes:,} bytes)"
            )
            self._journal.note(what, _HANDLED_S)
            return pickle.dumps(answer)

        return grpc.unary_unary_rpc_method_handler(handle)


def mutated(message: bytes, chance: random.Random) -> bytes:
    """Returns a message of which a few bytes are others, are missing, or are there twice."""
    changed = bytearray(message)
    for _ in range(chance.choice((1, 2, 10))):
        at, size_bytes = chance.randrange(len(changed) + 1), chance.choice((1, 2, 9, 100))
        part = bytes(changed[at : at + size_bytes])
        changed[at : at + size_bytes] = chance.choice((chance.randbytes(size_bytes), b"", part + part))
    return bytes(changed)


def _by_service(rpc: str) -> str:
    """Returns the key of a method: DoCommand is the same for all components."""
    method = rpc.rpartition("/")[2]
    return method if method == "DoCommand" else rpc


def _by_rpc(answers: Iterable[Hostile]) -> defaultdict[str, list[Hostile]]:
    found: defaultdict[str, list[Hostile]] = defaultdict(list)
    for answer in answers:
        table = lookup(answer.api, answer.method)
        assert table is not None, f"{answer.api} has no {answer.method}"
        found[_by_service(table.rpc)].append(answer)
    return found


async def main(socket: str, folder: Path, seed: str) -> None:
    server = grpc.aio.server(options=[("grpc.max_send_message_length", MAX_MESSAGE_BYTES)])
    server.add_generic_rpc_handlers((Answers(seed, Journal(folder / "component.jsonl", "component")),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    give_way()
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
