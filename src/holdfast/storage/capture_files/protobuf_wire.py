"""Reads serialized protobuf messages in place: large fields are slices of the message, not copies."""

from __future__ import annotations

from collections.abc import Iterator

from .frames import read_varint

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview | None]]:
    """Yields number and value of the fields of `message`, in order: of varints as integers, of length-delimited
    fields as slices of `message`, and of numbers with a fixed size as None.

    Raises ValueError where it is not a protobuf message.
    """
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
                yield number, None
            else:
                raise ValueError(f"unknown wire type {kind}")
    except IndexError as error:
        raise ValueError("it is cut off") from error
    if offset != end:
        raise ValueError("it is cut off")


def last(message: memoryview, number: int) -> memoryview | None:
    """Returns the last length-delimited field `number` of `message`, which is the one that counts in protobuf; None
    when there is none. Raises ValueError when `message` is not a protobuf message."""
    found = None
    for each, value in fields(message):
        if each == number and isinstance(value, memoryview):
            found = value
    return found
