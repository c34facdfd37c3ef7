"""The attribute `mongo_capture_config`. No error, problem or repr shows its `uri`, which may hold a password."""

from __future__ import annotations

from dataclasses import dataclass, field

from .attributes import Attributes

_DEFAULT_DATABASE, _DEFAULT_COLLECTION = "sensorData", "readings"
_NAME = "mongo_capture_config"
_SCHEMES = ("mongodb://", "mongodb+srv://")


@dataclass(frozen=True)
class MongoSettings:
    """The collection in MongoDB that tabular readings go to, besides the cloud."""

    uri: str = field(repr=False)
    database: str = _DEFAULT_DATABASE
    collection: str = _DEFAULT_COLLECTION


def mongo_settings(attributes: Attributes) -> MongoSettings | None:
    """Returns None when MongoDB is not configured, or when its `uri` can't be used, which is a problem.

    Raises ConfigError for a wrong type.
    """
    if not attributes.has(_NAME):
        return None
    mongo = attributes.nested(_NAME, "an object with uri, database and collection", secret=True)
    uri, database, collection = mongo.text("uri"), mongo.text("database"), mongo.text("collection")
    mongo.report_unknown()
    if not uri.startswith(_SCHEMES):
        why = f"must begin with {' or '.join(_SCHEMES)}" if uri else "is missing"
        mongo.add_problem("uri", f"{why}; nothing goes to MongoDB, the rest works")
        return None
    return MongoSettings(uri, database or _DEFAULT_DATABASE, collection or _DEFAULT_COLLECTION)
