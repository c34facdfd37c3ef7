"""Counts the fields of a reading before it is decoded.

Protobuf decodes a message in one go, in which no other thread runs Python, nor does the event loop. How long it
takes depends on the number of fields far more than on the size. Counting them takes longer, but in small steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..storage.capture_files import protobuf_wire

_READING: Final = "reading"
_INSIDE: Mapping[str, Mapping[int, str]] = {
    _READING: {2: "struct"},
    "struct": {1: "entry"},
    "entry": {2: "value"},
    "value": {5: "struct", 6: "list"},
    "list": {1: "value"},
}
"""By the kind of a message in a serialized `SensorData`: the fields that hold messages, and their kinds."""


def has_more_fields_than(most: int, reading: bytes) -> bool:
    """Returns whether a serialized `SensorData` has more than `most` fields, with those of all values in it.

    Raises ValueError where it is not a protobuf message.
    """
    found = 0
    waiting = [(memoryview(reading), _READING)]
    while waiting:
        message, kind = waiting.pop()
        inside = _INSIDE[kind]
        for number, value in protobuf_wire.fields(message):
            found += 1
            if found > most:
                return True
            if number in inside and isinstance(value, memoryview):
                waiting.append((value, inside[number]))
    return False
