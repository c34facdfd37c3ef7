"""The attribute `mongo_capture_config`. No error, problem or repr shows its `uri`, which may hold a password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .attributes import NO_NUL, Attributes

_DEFAULT_DATABASE, _DEFAULT_COLLECTION = "sensorData", "readings"
_NAME = "mongo_capture_config"
_SCHEMES = ("mongodb://", "mongodb+srv://")
_NOT_IN_A_DATABASE = re.compile(r'[/\\. "$]')
_MOST_NAME_BYTES = 63
"""The longest name of a database."""
_LEFT_OUT = "nothing goes to MongoDB, the rest works"


@dataclass(frozen=True)
class MongoSettings:
    """The collection in MongoDB that tabular readings go to, besides the cloud."""

    uri: str = field(repr=False)
    database: str = _DEFAULT_DATABASE
    collection: str = _DEFAULT_COLLECTION


def mongo_settings(attributes: Attributes) -> MongoSettings | None:
    """Returns None when MongoDB is not configured, or when it can't be used, which is a problem.

    It can't be used when `uri` is missing or is not MongoDB's, or when a text contains a NUL character. Raises
    ConfigError for a wrong type.
    """
    if not attributes.has(_NAME):
        return None
    mongo = attributes.nested(_NAME, "an object with uri, database and collection", secret=True)
    texts = {name: mongo.any_text(name) for name in ("uri", "database", "collection")}
    mongo.report_unknown()
    checks = {"uri": _why_no_uri, "database": _why_no_database, "collection": _why_no_collection}
    for name, check in checks.items():
        if why := NO_NUL if "\0" in texts[name] else check(texts[name]):
            mongo.add_problem(name, f"{why}; {_LEFT_OUT}")
            return None
    uri = texts["uri"]
    return MongoSettings(uri, texts["database"] or _DEFAULT_DATABASE, texts["collection"] or _DEFAULT_COLLECTION)


def _why_no_uri(uri: str) -> str:
    """Returns what is wrong with a connection string as far as its form tells, without a part of it."""
    if not uri:
        return "is missing"
    if not uri.startswith(_SCHEMES):
        return f"must begin with {' or '.join(_SCHEMES)}"
    scheme, _, rest = uri.partition("://")
    authority = re.split(r"[/?]", rest)[0]
    hosts = authority.rpartition("@")[2]
    if "@" in rest[len(authority) :]:
        return ""  # a user or password that is not encoded, which the client explains
    if not all(host.strip() for host in hosts.split(",")):
        return "names no host, or an empty one"
    if scheme == "mongodb+srv" and ("," in hosts or ":" in hosts):
        return "must name one host without a port, since it begins with mongodb+srv://"
    return ""


def _why_no_database(name: str) -> str:
    if _NOT_IN_A_DATABASE.search(name):
        return 'must not contain a space or one of / \\ . " $'
    too_long = len(name.encode(errors="replace")) > _MOST_NAME_BYTES
    return f"must have at most {_MOST_NAME_BYTES} bytes" if too_long else ""


def _why_no_collection(name: str) -> str:
    if name.startswith("system.") or "$" in name:
        return "must not begin with system. or contain $"
    return "must not begin or end with a dot, or have two in a row" if "" in name.split(".") and name else ""
