"""Reads fields of a resource's answer in place, without decoding or copying it.

It uses the reader of capture files (`storage.capture_files.protobuf_wire`). All functions raise ResourceCallError
for an answer that is not a protobuf message, or that takes more steps than it may.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import ResourceCallError, ResourceErrorKind
from ...storage.capture_files import protobuf_wire
from .steps import Steps

MAX_TEXT_BYTES = 16 * 1024


def each_field(message: memoryview, steps: Steps) -> Iterator[tuple[int, int | memoryview | None]]:
    """Yields the number and value of each field of a message; see `protobuf_wire.fields`. Each is a step."""
    with _translated():
        for found in protobuf_wire.fields(message):
            steps.take()
            yield found


def each_slice(message: memoryview, steps: Steps) -> Iterator[tuple[int, memoryview]]:
    """Yields the number and value of each length-delimited field of a message."""
    for number, value in each_field(message, steps):
        if isinstance(value, memoryview):
            yield number, value


def last(message: memoryview, number: int, steps: Steps) -> memoryview:
    """Returns the last length-delimited field `number` of a message; empty if there is none.

    Protobuf also takes the last one when a field appears several times.
    """
    return dict(each_slice(message, steps)).get(number, memoryview(b""))


def text(value: memoryview) -> str:
    """Returns the value of a field as text."""
    if len(value) > MAX_TEXT_BYTES:
        why = f"a name or type in the answer has {len(value)} bytes; at most {MAX_TEXT_BYTES} are read"
        raise ResourceCallError(ResourceErrorKind.FAILED, why)
    return str(value, "utf-8", "replace")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ResourceCallError(ResourceErrorKind.FAILED, "the answer is not readable") from error
