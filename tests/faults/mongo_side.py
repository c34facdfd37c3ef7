"""`MongoSide` is the torture's MongoDB: a server behind a link of its own, on which answers can get lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from demo.link import Link
from tests.e2e.machines import Served
from tests.mongod import DATABASE, Mongod

from .account import Account, Verdict
from .mongo_account import COLLECTION, mongo_verdict


class MongoSide:
    """A server and its link. `start` starts both; `stop` stops the link only, since the server is the caller's."""

    def __init__(self, server: Mongod) -> None:
        self.server = server
        self.link = Link(server.port)

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)
        await self.link.start()

    async def stop(self) -> None:
        await self.link.stop()

    @property
    def config(self) -> dict[str, Any]:
        uri = self.server.uri.replace(f":{self.server.port}/", f":{self.link.port}/")
        return {"mongo_capture_config": {"uri": uri, "database": DATABASE, "collection": COLLECTION}}

    def verdict(self, account: Account, served: Sequence[Served]) -> Verdict:
        """Judges the source of `account`, which is its account in the cloud."""
        documents = self.server.collection(COLLECTION).find()
        return mongo_verdict(documents, served, account.expected, account, account.calls.interruptions)


def miscounted(told: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the counts for MongoDB, in words. `told` is what a status says of MongoDB."""
    came = told["taken"] + told["found"]
    known = told["written"] + sum(told["dropped"].values()) + told["waiting_readings"]
    return [] if came == known else [f"miscounted for MongoDB: {came} came and {known} are known: {dict(told)}"]
