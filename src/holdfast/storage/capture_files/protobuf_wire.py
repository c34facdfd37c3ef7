"""Reads serialized protobuf messages in place: large fields are slices of the message, not copies."""

from __future__ import annotations

from collections.abc import Iterator

from .frames import read_varint

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {FIXED64: 8, FIXED32: 4}

Field = tuple[int, int, int | memoryview]
"""A field's number and wire type, and its content: a varint as an integer, anything else as a slice."""


def each_field(message: memoryview) -> Iterator[Field]:
    """Yields the fields of `message`, in order. Raises ValueError where it is not a protobuf message."""
    offset, end = 0, len(message)
    try:
        while offset < end:
            tag, offset = read_varint(message, offset)
            kind = tag & 7
            content: int | memoryview
            if kind == VARINT:
                content, offset = read_varint(message, offset)
            else:
                if kind == LENGTH:
                    size, offset = read_varint(message, offset)
                elif kind in _FIXED_BYTES:
                    size = _FIXED_BYTES[kind]
                else:
                    raise ValueError(f"unknown wire type {kind}")
                content = message[offset : offset + size]
                offset += size
            if offset > end:
                raise ValueError("it is cut off")
            yield tag >> 3, kind, content
    except IndexError as error:
        raise ValueError("it is cut off") from error


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview | None]]:
    """Yields number and value of the fields of `message`, in order: of varints as integers, of length-delimited
    fields as slices of `message`, and of numbers with a fixed size as None. Raises ValueError as `each_field` does.
    """
    for number, kind, content in each_field(message):
        yield number, None if kind in _FIXED_BYTES else content


def last(message: memoryview, number: int) -> memoryview | None:
    """Returns the last length-delimited field `number` of `message`, which is the one that counts in protobuf; None
    when there is none. Raises ValueError when `message` is not a protobuf message."""
    found = None
    for each, value in fields(message):
        if each == number and isinstance(value, memoryview):
            found = value
    return found
