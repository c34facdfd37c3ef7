"""Serialized protobuf messages read in place: large ones are cut, not copied."""

from __future__ import annotations

from collections.abc import Iterator

from .frames import read_varint

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each varint (an int) and each length-delimited field (a slice of `message`), in order;
    other fields are passed over. ValueError where it is no protobuf message."""
    offset, end = 0, len(message)
    try:
        while offset < end:
            tag, offset = read_varint(message, offset)
            number, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                value, offset = read_varint(message, offset)
                yield number, value
            elif kind == _LENGTH:
                size, start = read_varint(message, offset)
                offset = start + size
                if offset <= end:
                    yield number, message[start:offset]
            elif kind in (_FIXED64, _FIXED32):
                offset += 8 if kind == _FIXED64 else 4
            else:
                raise ValueError(f"unknown wire type {kind}")
    except IndexError as error:
        raise ValueError("it is cut off") from error
    if offset != end:
        raise ValueError("it is cut off")


def last(message: memoryview, number: int) -> memoryview | None:
    """The last length-delimited field `number` of a message, as protobuf reads it; None when there is none."""
    found = None
    for each, value in fields(message):
        if each == number and isinstance(value, memoryview):
            found = value
    return found
