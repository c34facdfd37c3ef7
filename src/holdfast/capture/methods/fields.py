"""Answers of resources read in place (see `storage.wire`); one that is no protobuf is a ResourceCallError."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import ResourceCallError, ResourceErrorKind
from ...storage.capture_files import wire


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """As `storage.wire.fields`."""
    try:
        yield from wire.fields(message)
    except ValueError as error:
        raise ResourceCallError(ResourceErrorKind.FAILED, "the answer is not readable") from error


def last(message: memoryview, number: int) -> memoryview:
    """The last length-delimited field `number` of a message, as protobuf reads it; empty when there is none."""
    found = memoryview(b"")
    for each, value in fields(message):
        if each == number and isinstance(value, memoryview):
            found = value
    return found


def last_text(message: memoryview, number: int) -> str:
    """As `last`, of a text."""
    return str(last(message, number), "utf-8", "replace")
