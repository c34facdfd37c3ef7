"""The one door to MongoDB: pymongo's client, with its errors translated to ours.

Everything here blocks, at most for a few times `CALL_TIMEOUT_S`, and runs on the writer's thread, except where a
docstring says otherwise. No text that leaves this module contains a password of the connection string.

| what happened | what it means |
|---|---|
| no server, a cut, a timeout, no primary, shutting down | NO_CONNECTION: send all of it again |
| the login or the permission is refused | LOGIN_REFUSED: send all of it again |
| a connection string, database or collection that can't be used | UNUSABLE: send all again, as it may be DNS |
| a duplicate `_id` | the document is already there: it is written |
| the server refuses a document (validation, size, a unique index) | that one is refused, the others are written |
| the server has no room, is overloaded, or did not confirm | REFUSED: send again what is not confirmed |
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
"""Unauthorized, AuthenticationFailed, and the code that Atlas uses."""
_SERVERS_FAULT = frozenset(
    {6, 7, 24, 50, 64, 89, 91, 112, 133, 189, 202, 262, 290, 9001, 10107, 11600, 11602, 13435, 13436, 14031}
)
"""Error codes of a single write whose cause is not its document: network, shutdown, no primary, time, locks, no
room."""
_NOT_ENCODED = (
    "uri is not a valid connection string; in user and password, write : / ? # [ ] @ % as percent codes (@ is %40)"
)


class MongoClient:
    """A connection to one collection: a `MongoTarget`.

    The constructor uses no network, except DNS for mongodb+srv. Raises MongoError when the settings can't be used.
    """

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
                    # Where one document is already there or refused, those after it may be too. Without `ordered`
                    # the server continues after each of them, and a single server still keeps the order.
                    ordered = False
        return refused

    def close(self) -> None:
        self._client.close()

    def _check(self, error: errors.BulkWriteError, found: Sequence[_WriteError]) -> None:
        """Raises MongoError unless the server said for each document whether it has it durably."""
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
        except errors.InvalidURI:  # its text may quote the connection string
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
        except (ValueError, TypeError, OSError) as error:  # from the value of an option, the file of a certificate
            raise MongoError(MongoErrorKind.UNUSABLE, self._clean(str(error))) from None

    def _clean(self, text: str) -> str:
        """Returns a text of pymongo or the server, shortened and without secrets."""
        short = re.split(r", Timeout: |, full error: |, Topology Description: ", text)[0]
        for secret in self._secrets:
            short = short.replace(secret, "…")
        return short if len(short) <= _MAX_TEXT else short[:_MAX_TEXT] + "…"


class _WriteError:
    """What the server says about one document of a call."""

    def __init__(self, details: Mapping[str, Any], start: int) -> None:
        self.index = int(details["index"]) + start
        self.code = int(details.get("code", 0))
        self.text = str(details.get("errmsg", "refused"))
        key = details.get("keyPattern", {"_id": 1})
        self.is_there = self.code == _DUPLICATE and list(key) == ["_id"]


def _durable(asked: WriteConcern) -> WriteConcern:
    """Returns the write concern of the connection string, with confirmation by the journal added."""
    options = dict(asked.document)
    w = options.get("w")
    wtimeout = options.get("wtimeout")
    return WriteConcern(w=w or None, wtimeout=wtimeout, j=True)


def _is_ambiguous(uri: str) -> bool:
    """Returns whether user or password contain characters that must be encoded.

    pymongo would take parts of them for a host and show them in its errors.
    """
    user_info, at, _ = uri.partition("://")[2].rpartition("@")
    return bool(at) and (user_info.count(":") > 1 or bool(set(user_info) & set("/?#[]@")))


def _secrets(uri: str) -> list[str]:
    """Returns the secret parts of a connection string, as they are written and decoded, longest first."""
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
