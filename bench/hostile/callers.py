"""`Callers` are hostile callers of the data manager: several at once, each with one request after the other."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import grpc
import grpc.aio
from viam.proto.common import GetStatusRequest
from viam.proto.service.datamanager import SyncRequest, UploadBinaryDataToDatasetsRequest
from viam.utils import dict_to_struct

from .answers import MAX_MESSAGE_BYTES
from .arguments import requests
from .journal import Journal

SERVICE = "/viam.service.datamanager.v1.DataManagerService/"
AT_ONCE = 6
_TIMEOUT_S = 20.0
_PAUSE_S = 0.02
"""Between two requests of a caller: it keeps the loop of this process free for the others."""
_COMMANDS = 0.8
"""The share of commands; the others are requests of the other methods."""


def sync(chance: random.Random, name: str) -> bytes:
    """A sync whose `extra` is as large as a request may be."""
    extra = dict_to_struct({f"{number}": [[{}] * 10] * 10 for number in range(chance.choice((0, 10, 1_000)))})
    return SyncRequest(name=name, extra=extra).SerializeToString()


def upload_data(chance: random.Random, name: str) -> bytes:
    many = chance.choice((0, 1, 1_000, 100_000))
    return UploadBinaryDataToDatasetsRequest(
        name=chance.choice((name, "")),
        binary_data=bytes(chance.choice((0, 1, 100_000, 16 << 20))),
        tags=[f"tag {number}" for number in range(many)],
        dataset_ids=[chance.choice(("", "\0", "x" * 100_000, "id"))] * chance.choice((0, 1, 10)),
        mime_type=chance.choice((0, 1, 2, 2**31 - 1, -1)),
    ).SerializeToString()


def get_status(chance: random.Random, name: str) -> bytes:
    return GetStatusRequest(name=name).SerializeToString()


OTHERS: Mapping[str, Callable[[random.Random, str], bytes]] = {
    "Sync": sync,
    "UploadBinaryDataToDatasets": upload_data,
    "GetStatus": get_status,
}
"""By the method that they call."""


def drawn(chance: random.Random, name: str) -> Iterator[tuple[str, bytes]]:
    """Yields requests without end, each with its method."""
    commands = requests(chance, name)
    while True:
        if chance.random() < _COMMANDS:
            yield "DoCommand", next(commands)
        else:
            method = chance.choice(list(OTHERS))
            yield method, OTHERS[method](chance, name)


class Callers:
    """`AT_ONCE` callers on one connection. `answers` counts the codes of what they got, by method."""

    def __init__(self, address: str, name: str, seed: str, journal: Journal) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self._channel = grpc.aio.insecure_channel(
            address,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._name, self._seed, self._journal = name, seed, journal

    async def run(self) -> None:
        """Calls until it is cancelled."""
        try:
            await asyncio.gather(*map(self._caller, range(AT_ONCE)))
        finally:
            await self._channel.close()

    async def _caller(self, number: int) -> None:
        chance = random.Random(f"{self._seed}/{number}")
        for method, request in drawn(chance, self._name):
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(SERVICE + method)
            with self._journal.during(f"{method}: {described(method, request)}"):
                try:
                    await call(request, timeout=_TIMEOUT_S)
                    code = "OK"
                except grpc.aio.AioRpcError as error:
                    code = error.code().name
            self.answers[method, code] += 1
            await asyncio.sleep(_PAUSE_S)


def described(method: str, request: bytes) -> str:
    """Returns a line about a request: its command when it is short enough to be read, and its size."""
    size = f"{len(request):,} bytes"
    if method != "DoCommand":
        return size
    return f"{size}, {request[:160]!r}"
