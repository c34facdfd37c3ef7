"""The seam to MongoDB: a target takes documents or says why not. This module does not need pymongo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ..config import MongoSettings
from ..errors import CallError


class MongoErrorKind(Enum):
    """The reasons for which a call writes no more documents. The value is the state that users see."""

    NO_CONNECTION = "no connection"
    LOGIN_REFUSED = "login refused"
    UNUSABLE = "not usable"
    REFUSED = "refused by the server"


class MongoError(CallError):
    """A call failed, and it is not known which of its documents are written.

    `slow` says that the call ran out of time: fewer documents at a time may help.
    """

    def __init__(self, kind: MongoErrorKind, message: str, *, slow: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.slow = slow


@dataclass(frozen=True)
class RefusedDocument:
    """A document that the server refuses for its content. `index` is its place in the call."""

    index: int
    why: str


class MongoTarget(Protocol):
    """A collection that takes documents."""

    def insert(self, documents: Sequence[bytes]) -> list[RefusedDocument]:
        """Writes all documents durably and in order, and returns those that the server refuses.

        A document whose `_id` is already there stays as it is and counts as written. Raises MongoError when an
        unknown part of them is written. Blocks until the server confirms.
        """

    def close(self) -> None:
        """Ends the connections. Blocks, possibly as long as a call. May be called from any thread."""


Connect = Callable[[MongoSettings], MongoTarget]
"""Returns a target for the settings. Raises MongoError when they can't be used."""
