"""A spooled reading as a document: the builtin's fields, in its order, with its BSON types.

| field | what |
|---|---|
| `_id` | made of the reading's name in the spool: the same whenever it is sent |
| `time_requested`, `time_received` | dates, rounded down to the millisecond |
| `component_name`, `component_type`, `method_name` | the short name, the API ("rdk:component:sensor"), the method |
| `data` | the payload: numbers are doubles; an empty list is null, as Go's empty slice is |

Readings are decoded here and nowhere else, on the writer's thread.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import bson
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from bson.objectid import ObjectId
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from viam.proto.app.datasync import SensorData

from ..errors import HoldfastError
from .fields import has_more_fields_than
from .records import SpooledReading

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""MongoDB's limit for a document."""
MAX_FIELDS = 100_000
"""The most that is decoded of a reading. A number in a list takes two, one with a name takes four."""
_SMALL_BYTES = 64 * 1024
"""A reading that is not larger has no more fields than are decoded in a few milliseconds."""
_SECOND_NS = 1_000_000_000


class NoDocumentError(HoldfastError):
    """A reading can't become a document. `reason` is the word under which it is counted."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


def object_id(reading: SpooledReading) -> ObjectId:
    """Returns the reading's time, life and number: as unique as a driver's own id, and in the readings' order."""
    seconds = reading.time_ns // _SECOND_NS & 0xFFFFFFFF
    return ObjectId(struct.pack(">I", seconds) + reading.life + struct.pack(">I", reading.number & 0xFFFFFF)[1:])


def document(reading: SpooledReading) -> bytes:
    """Returns the reading's document as BSON. Raises NoDocumentError when it can't become one."""
    api, resource, method = reading.origin
    try:
        if len(reading.message) > _SMALL_BYTES and has_more_fields_than(MAX_FIELDS, reading.message):
            raise NoDocumentError("too_many_values", f"it consists of more than {MAX_FIELDS} fields")
        message = SensorData.FromString(reading.message)
        encoded = bson.encode(
            {
                "_id": object_id(reading),
                "time_requested": _date(message.metadata.time_requested),
                "time_received": _date(message.metadata.time_received),
                "component_name": resource,
                "component_type": api,
                "method_name": method,
                "data": _plain(message.struct),
            }
        )
    except (DecodeError, ValueError) as error:
        raise NoDocumentError("unreadable", "it is not a protobuf message, or nested too deeply") from error
    except (BSONError, OverflowError, RecursionError) as error:
        raise NoDocumentError("not_bson", str(error) or "it is nested too deeply") from error
    if len(encoded) > MAX_DOCUMENT_BYTES:
        raise NoDocumentError(
            "too_large", f"its document has {len(encoded)} bytes, MongoDB takes {MAX_DOCUMENT_BYTES}"
        )
    return encoded


def _date(time: Timestamp) -> DatetimeMS:
    return DatetimeMS(time.seconds * 1000 + time.nanos // 1_000_000)


def _plain(struct: Struct) -> Mapping[str, Any]:
    return {name: _value(value) for name, value in struct.fields.items()}


def _value(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        return value.number_value
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return _plain(value.struct_value)
    if kind == "list_value":
        return [_value(item) for item in value.list_value.values] or None
    return None
