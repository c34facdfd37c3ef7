"""What a configuration says of MongoDB. Part of `config`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError

DEFAULT_DATABASE, DEFAULT_COLLECTION = "sensorData", "readings"
_SCHEMES = ("mongodb://", "mongodb+srv://")
KEYS = frozenset({"uri", "database", "collection"})


@dataclass(frozen=True)
class MongoSettings:
    """Where tabular readings go beside the cloud. `uri` holds a password: it is shown nowhere."""

    uri: str = field(repr=False)
    database: str = DEFAULT_DATABASE
    collection: str = DEFAULT_COLLECTION


def mongo_settings(name: str, value: Any, problems: list[str]) -> MongoSettings | None:
    """The value of the attribute `name`; None where it is not usable, with a problem said. Shows no part of it."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ConfigError(name, "must be an object with uri, database and collection")
    texts = {}
    for key in sorted(KEYS):
        text = value.get(key)
        if not isinstance(text, (str, type(None))):
            raise ConfigError(f"{name}.{key}", "must be a string")
        texts[key] = text or ""
    uri = texts["uri"]
    if not uri.startswith(_SCHEMES):
        why = f"must begin with {' or '.join(_SCHEMES)}" if uri else "is missing"
        problems.append(f"{name}.uri: {why}; nothing goes to MongoDB, the rest works")
        return None
    return MongoSettings(uri, texts["database"] or DEFAULT_DATABASE, texts["collection"] or DEFAULT_COLLECTION)
