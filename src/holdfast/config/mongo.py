"""The attribute `mongo_capture_config`. No error, problem or repr shows its `uri`, which may hold a password."""

from __future__ import annotations

from dataclasses import dataclass, field

from .attributes import NO_NUL, Attributes

_DEFAULT_DATABASE, _DEFAULT_COLLECTION = "sensorData", "readings"
_NAME = "mongo_capture_config"
_SCHEMES = ("mongodb://", "mongodb+srv://")
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
    for name, text in texts.items():
        if "\0" in text:
            mongo.add_problem(name, f"{NO_NUL}; {_LEFT_OUT}")
            return None
    uri = texts["uri"]
    if not uri.startswith(_SCHEMES):
        why = f"must begin with {' or '.join(_SCHEMES)}" if uri else "is missing"
        mongo.add_problem("uri", f"{why}; {_LEFT_OUT}")
        return None
    return MongoSettings(uri, texts["database"] or _DEFAULT_DATABASE, texts["collection"] or _DEFAULT_COLLECTION)
