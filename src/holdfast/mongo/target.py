"""Where documents go, as seen by who sends them: it takes them, or says why not. Needs no pymongo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ..config import MongoSettings
from ..errors import CallError


class MongoErrorKind(Enum):
    """Why nothing more could be written. The value is the state in words."""

    NO_CONNECTION = "no connection"
    LOGIN_REFUSED = "login refused"
    UNUSABLE = "not usable"
    REFUSED = "refused by the server"


class MongoError(CallError):
    """The documents before `done` of those given are written; from there on it is unknown.

    `slow` tells that time ran out: fewer at a time may help.
    """

    def __init__(self, kind: MongoErrorKind, message: str, *, slow: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.slow = slow


@dataclass(frozen=True)
class RefusedDocument:
    """A document that the server does not take."""

    index: int
    why: str


class MongoTarget(Protocol):
    """Where documents go."""

    def insert(self, documents: Sequence[bytes]) -> list[RefusedDocument]:
        """Writes all, in order, durably; those that are there already stay as they are. Raises MongoError, with an
        unknown part of them written."""

    def close(self) -> None:
        """Ends the connections. Safe from another thread."""


Connect = Callable[[MongoSettings], MongoTarget]
