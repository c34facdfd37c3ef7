"""What a configuration says of MongoDB. Part of `config`."""

from __future__ import annotations

from dataclasses import dataclass, field

from .attributes import Attributes

DEFAULT_DATABASE, DEFAULT_COLLECTION = "sensorData", "readings"
NAME = "mongo_capture_config"
_SCHEMES = ("mongodb://", "mongodb+srv://")


@dataclass(frozen=True)
class MongoSettings:
    """Where tabular readings go beside the cloud. `uri` holds a password: it is shown nowhere."""

    uri: str = field(repr=False)
    database: str = DEFAULT_DATABASE
    collection: str = DEFAULT_COLLECTION


def mongo_settings(attributes: Attributes) -> MongoSettings | None:
    """None where MongoDB is not configured, or not usably, which is a problem. Shows no value."""
    if not attributes.has(NAME):
        return None
    mongo = attributes.nested(NAME, "an object with uri, database and collection", secret=True)
    collection, database, uri = mongo.text("collection"), mongo.text("database"), mongo.text("uri")
    mongo.report_unknown()
    if not uri.startswith(_SCHEMES):
        why = f"must begin with {' or '.join(_SCHEMES)}" if uri else "is missing"
        mongo.add_problem("uri", f"{why}; nothing goes to MongoDB, the rest works")
        return None
    return MongoSettings(uri, database or DEFAULT_DATABASE, collection or DEFAULT_COLLECTION)
