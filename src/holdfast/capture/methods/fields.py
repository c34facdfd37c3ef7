"""Reads fields of a resource's answer in place, without decoding or copying it.

It uses the reader of capture files (`storage.capture_files.protobuf_wire`). All functions raise ResourceCallError
for an answer that is not a protobuf message.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import ResourceCallError, ResourceErrorKind
from ...storage.capture_files import protobuf_wire


def each_field(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number and value of each field of a message; see `protobuf_wire.fields`."""
    with _translated():
        yield from protobuf_wire.fields(message)


def last(message: memoryview, number: int) -> memoryview:
    """Returns the last length-delimited field `number` of a message; empty if there is none.

    Protobuf also takes the last one when a field appears several times.
    """
    with _translated():
        return protobuf_wire.last(message, number) or memoryview(b"")


def last_text(message: memoryview, number: int) -> str:
    """Returns the last field `number` of a message as text; empty if there is none."""
    return str(last(message, number), "utf-8", "replace")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ResourceCallError(ResourceErrorKind.FAILED, "the answer is not readable") from error
