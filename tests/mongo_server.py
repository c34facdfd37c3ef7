"""A MongoDB in this process, behind the seam of `MongoTarget`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import bson
from bson.objectid import ObjectId

from holdfast.config import MongoSettings
from holdfast.mongo.target import MongoError, MongoErrorKind, RefusedDocument

NO_CONNECTION = MongoError(MongoErrorKind.NO_CONNECTION, "nobody there")


class MongoServer:
    """Keeps documents by their `_id`. Thread-safe enough for one writer and a test that reads."""

    def __init__(self) -> None:
        self.documents: dict[ObjectId, dict[str, Any]] = {}
        self.calls: list[list[ObjectId]] = []
        """The ids of the documents of each call, successful or not."""
        self.faults: deque[tuple[Exception, int]] = deque()
        """The errors that the next calls raise, each with how many documents of the call are written before."""
        self.fault: Exception | None = None
        """The error that every call raises while it is set."""
        self.refuses: Callable[[dict[str, Any]], bool] = lambda document: False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.connections: list[Connection] = []

    def connect(self, settings: MongoSettings) -> Connection:
        self.connections.append(Connection(self, settings))
        return self.connections[-1]

    @property
    def seqs(self) -> list[int]:
        """The numbers of the readings, in the order in which they were written."""
        return [int(document["data"]["readings"]["seq"]) for document in list(self.documents.values())]


class Connection:
    """A `MongoTarget`."""

    def __init__(self, server: MongoServer, settings: MongoSettings) -> None:
        self.settings = settings
        self.closed = threading.Event()
        self._server = server

    def insert(self, documents: Sequence[bytes]) -> list[RefusedDocument]:
        server = self._server
        decoded = [bson.decode(document) for document in documents]
        server.calls.append([document["_id"] for document in decoded])
        server.may_answer.wait()
        error, written = server.faults.popleft() if server.faults else (server.fault, 0)
        refused = []
        for index, document in enumerate(decoded[:written] if error else decoded):
            if server.refuses(document):
                refused.append(RefusedDocument(index, "it is not wanted"))
            else:
                server.documents.setdefault(document["_id"], document)
        if error is not None:
            raise error
        return refused

    def close(self) -> None:
        """Waits for the server to answer, as pymongo does to end its session."""
        self._server.may_answer.wait()
        self.closed.set()
