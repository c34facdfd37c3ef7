"""The one door to MongoDB: pymongo's client, and its errors translated to ours.

Everything here blocks, for a few times `CALL_TIMEOUT_S` at most, and belongs to one thread but for what says
otherwise. No text that leaves this module holds a password of the connection string.

| what happened | what it means |
|---|---|
| no server, a cut, a timeout, no primary, shutting down | NO_CONNECTION: all of it again |
| the login or the right is refused | LOGIN_REFUSED: all of it again |
| a connection string, database or collection that can't be used | UNUSABLE: all again, since it may be DNS |
| a duplicate `_id` | the document is there already: done |
| the server refuses a document (validation, size, a unique index) | that one is refused, the others go on |
| the server has no room, is overloaded, or did not confirm | REFUSED: what is not confirmed again |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote_plus

import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo import errors
from pymongo.collection import Collection
from pymongo.server_api import ServerApi, ServerApiVersion
from pymongo.write_concern import WriteConcern

from ..config import MongoSettings
from .target import MongoError, MongoErrorKind, RefusedDocument

CALL_TIMEOUT_S = 20.0
SELECTION_TIMEOUT_S = 3.0
CONNECT_TIMEOUT_S = 5.0
APP_NAME = "holdfast"
_MAX_TEXT = 300
_DUPLICATE = 11000
_LOGIN_CODES = frozenset({13, 18, 8000})
"""Unauthorized, AuthenticationFailed, and Atlas's own."""
_SERVERS_FAULT = frozenset(
    {6, 7, 24, 50, 64, 89, 91, 112, 133, 189, 202, 262, 290, 9001, 10107, 11600, 11602, 13435, 13436, 14031}
)
"""Codes of a single write that say nothing of its document: network, shutdown, no primary, time, locks, no room."""


_NOT_ENCODED = "uri is no valid connection string; in user and password, encode : / ? # [ ] @ % with percent signs"


class MongoClient:
    """A connection to one collection. Constructing it touches no network, but for the DNS of mongodb+srv."""

    def __init__(self, settings: MongoSettings) -> None:
        self._secrets = _secrets(settings.uri)
        if _is_ambiguous(settings.uri):
            raise MongoError(MongoErrorKind.UNUSABLE, _NOT_ENCODED)
        with self._translated():
            self._client: pymongo.MongoClient[Any] = pymongo.MongoClient(
                settings.uri,
                server_api=ServerApi(ServerApiVersion.V1),
                appname=APP_NAME,
                serverSelectionTimeoutMS=SELECTION_TIMEOUT_S * 1000,
                connectTimeoutMS=CONNECT_TIMEOUT_S * 1000,
                socketTimeoutMS=CALL_TIMEOUT_S * 1000,
                connect=False,
            )
            self._collection: Collection[Any] = self._client[settings.database].get_collection(
                settings.collection, write_concern=_durable(self._client.write_concern)
            )

    def insert(self, documents: Sequence[bytes]) -> list[RefusedDocument]:
        refused: list[RefusedDocument] = []
        start, ordered = 0, True
        with self._translated():
            while start < len(documents):
                try:
                    self._collection.insert_many(
                        [RawBSONDocument(each) for each in documents[start:]], ordered=ordered
                    )
                    break
                except errors.BulkWriteError as error:
                    found = [_WriteError(each, start) for each in error.details.get("writeErrors", ())]
                    self._check(error, found)
                    refused += [
                        RefusedDocument(each.index, self._clean(each.text)) for each in found if not each.is_there
                    ]
                    if not ordered:
                        break
                    start = found[-1].index + 1
                    # Where one is there or refused, so may all be behind it: without `ordered` the server goes on
                    # past each. One server keeps the order all the same.
                    ordered = False
        return refused

    def close(self) -> None:
        self._client.close()

    def _check(self, error: errors.BulkWriteError, found: Sequence[_WriteError]) -> None:
        """Raises MongoError when the server did not say of each document whether it has it, durably."""
        faults = [each for each in found if each.code in _SERVERS_FAULT | _LOGIN_CODES]
        if faults:
            kind = MongoErrorKind.LOGIN_REFUSED if faults[0].code in _LOGIN_CODES else MongoErrorKind.REFUSED
            raise MongoError(kind, self._clean(faults[0].text))
        if concerns := error.details.get("writeConcernErrors"):
            text = f"not confirmed: {concerns[0].get('errmsg', '')}"
            raise MongoError(MongoErrorKind.REFUSED, self._clean(text), slow=True)
        if not found:
            raise MongoError(MongoErrorKind.REFUSED, self._clean(str(error)))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except errors.InvalidURI:  # its text may quote the string
            raise MongoError(MongoErrorKind.UNUSABLE, _NOT_ENCODED) from None
        except (errors.ConfigurationError, errors.InvalidName, errors.InvalidOperation) as error:
            raise MongoError(MongoErrorKind.UNUSABLE, self._clean(str(error))) from None
        except errors.OperationFailure as error:
            login = error.code in _LOGIN_CODES
            kind = MongoErrorKind.LOGIN_REFUSED if login else MongoErrorKind.REFUSED
            text = str((error.details or {}).get("errmsg") or error)
            raise MongoError(kind, self._clean(text), slow=error.timeout) from None
        except errors.PyMongoError as error:
            slow = error.timeout and not isinstance(error, errors.ServerSelectionTimeoutError)
            raise MongoError(MongoErrorKind.NO_CONNECTION, self._clean(str(error)), slow=slow) from None
        except (ValueError, TypeError, OSError) as error:  # of an option's value, of a certificate's file
            raise MongoError(MongoErrorKind.UNUSABLE, self._clean(str(error))) from None

    def _clean(self, text: str) -> str:
        """A text of pymongo's or the server's, short and without secrets."""
        short = re.split(r", Timeout: |, full error: |, Topology Description: ", text)[0]
        for secret in self._secrets:
            short = short.replace(secret, "…")
        return short if len(short) <= _MAX_TEXT else short[:_MAX_TEXT] + "…"


class _WriteError:
    """What the server says of one document."""

    def __init__(self, details: Mapping[str, Any], start: int) -> None:
        self.index = int(details["index"]) + start
        self.code = int(details.get("code", 0))
        self.text = str(details.get("errmsg", "refused"))
        key = details.get("keyPattern", {"_id": 1})
        self.is_there = self.code == _DUPLICATE and list(key) == ["_id"]


def _durable(asked: WriteConcern) -> WriteConcern:
    """What the connection string asks for, and in any case an answer that comes when the journal has it."""
    options = dict(asked.document)
    w = options.get("w")
    wtimeout = options.get("wtimeout")
    return WriteConcern(w=w or None, wtimeout=wtimeout, j=True)


def _is_ambiguous(uri: str) -> bool:
    """Whether user and password hold what should be encoded: parts of them would be taken for a host, and shown."""
    user_info, at, _ = uri.partition("://")[2].rpartition("@")
    return bool(at) and (user_info.count(":") > 1 or bool(set(user_info) & set("/?#[]@")))


def _secrets(uri: str) -> list[str]:
    """The parts of a connection string that nobody may see, as they stand there and decoded; longest first."""
    _, _, rest = uri.partition("://")
    rest = rest or uri
    user_info, at, _ = rest.rpartition("@")
    found = [user_info, user_info.partition(":")[2]] if at else []
    for name, value in re.findall(r"[?&]([^=&]+)=([^&]*)", uri):
        if re.search("password|properties", name, re.IGNORECASE):
            found.append(value)
    return sorted(
        {form for secret in found if secret for form in (secret, unquote_plus(secret))}, key=len, reverse=True
    )
