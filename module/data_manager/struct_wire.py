"""Protobuf's `Struct` from bytes to plain values, within bounds, and back.

protobuf's own reader takes seconds for a message of millions of empty values, without a break for the event loop,
and fails at a depth that it does not tell. This one stops at the bounds, which are far beyond what any command
needs, with an error that says what is too much. It is plain Python, so that other threads run meanwhile. Numbers
are floats, and null is None.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.base.attachment import Attachment, Share
from holdfast.errors import CommandError
from holdfast.storage.capture_files.frames import varint
from holdfast.storage.capture_files.protobuf_wire import FIXED64, LENGTH, VARINT, Field, each_field

MAX_VALUES = 5_000
"""The most values in one request, in whatever lists and objects they are."""
MAX_LEVELS = 16
"""How deep lists and objects may be in each other."""
MAX_TEXT_BYTES = 64 * 1024
"""A longer text of a command is an attachment."""
_MAX_FIELDS = 8 * MAX_VALUES
"""A value takes six fields at most; what takes more of them has fields that no version of `Struct` knows."""

_DOUBLE = struct.Struct("<d")
_NULL, _NUMBER, _TEXT, _BOOL, _STRUCT, _LIST = 1, 2, 3, 4, 5, 6
"""The fields of a `Value`."""


class Reader:
    """Reads the fields of one request. Its methods raise CommandError beyond the bounds, and for what is no
    protobuf message."""

    def __init__(self, share: Share | None = None) -> None:
        """`share` is what the attachments hold."""
        self._share = share
        self._fields_left = _MAX_FIELDS
        self._values_left = MAX_VALUES

    def fields(self, message: memoryview) -> Iterator[Field]:
        """Yields the fields of a message, in order."""
        try:
            for field in each_field(message):
                self._fields_left -= 1
                if self._fields_left < 0:
                    raise CommandError(f"the request has more than {_MAX_FIELDS} fields")
                yield field
        except ValueError as error:
            raise CommandError("the request is not a protobuf message") from error

    def text(self, content: memoryview) -> str:
        """Returns a text. Raises CommandError when it is not UTF-8."""
        try:
            return str(content, "utf-8")
        except UnicodeDecodeError as error:
            raise CommandError("the request has a text that is not UTF-8") from error

    def struct(self, message: memoryview, *, level: int = 0) -> dict[str, Any]:
        """Returns a `Struct` as a dictionary. At level 0, texts of more than `MAX_TEXT_BYTES` are attachments; they
        refer to `message`, as large as it is."""
        if level > MAX_LEVELS:
            raise CommandError(f"the arguments have more than {MAX_LEVELS} lists and objects in each other")
        found = {}
        for number, kind, content in self.fields(message):
            if (number, kind) == (1, LENGTH) and isinstance(content, memoryview):
                name, value = self._entry(content)
                found[name] = self._value(value, level)
        return found

    def _entry(self, message: memoryview) -> tuple[str, memoryview]:
        name, value = "", memoryview(b"")
        for number, kind, content in self.fields(message):
            if kind == LENGTH and isinstance(content, memoryview):
                if number == 1:
                    name = str(self._text(content, level=1))
                elif number == 2:
                    value = content
        return name, value

    def _value(self, message: memoryview, level: int) -> Any:
        self._values_left -= 1
        if self._values_left < 0:
            raise CommandError(f"the arguments have more than {MAX_VALUES} values")
        value: Any = None
        for number, kind, content in self.fields(message):
            if isinstance(content, int):
                if kind == VARINT and number in (_NULL, _BOOL):
                    value = None if number == _NULL else content != 0
            elif (number, kind) == (_NUMBER, FIXED64):
                (value,) = _DOUBLE.unpack(content)
            elif kind == LENGTH and number == _TEXT:
                value = self._text(content, level)
            elif kind == LENGTH and number == _STRUCT:
                value = self.struct(content, level=level + 1)
            elif kind == LENGTH and number == _LIST:
                value = self._list(content, level + 1)
        return value

    def _list(self, message: memoryview, level: int) -> list[Any]:
        if level > MAX_LEVELS:
            raise CommandError(f"the arguments have more than {MAX_LEVELS} lists and objects in each other")
        return [
            self._value(content, level)
            for number, kind, content in self.fields(message)
            if (number, kind) == (1, LENGTH) and isinstance(content, memoryview)
        ]

    def _text(self, content: memoryview, level: int) -> Any:
        if len(content) <= MAX_TEXT_BYTES:
            return self.text(content)
        if level:
            raise CommandError(
                f"a text inside of an argument has {len(content)} bytes, and may have {MAX_TEXT_BYTES}"
            )
        return Attachment(content, self._share)


def encoded_struct(values: Mapping[str, Any]) -> bytes:
    """Returns plain values as a serialized `Struct`."""
    entries = []
    for name, value in values.items():
        key = name.encode()
        entries.append(encoded_field(1, encoded_field(1, key) + encoded_field(2, _encoded(value))))
    return b"".join(entries)


def _encoded(value: Any) -> bytes:
    if value is None:
        return b"\x08\x00"
    if isinstance(value, bool):
        return b"\x20\x01" if value else b"\x20\x00"
    if isinstance(value, (int, float)):
        return b"\x11" + _DOUBLE.pack(value)
    if isinstance(value, str):
        return encoded_field(_TEXT, value.encode())
    if isinstance(value, Mapping):
        return encoded_field(_STRUCT, encoded_struct(value))
    return encoded_field(_LIST, b"".join(encoded_field(1, _encoded(item)) for item in value))


def encoded_field(number: int, content: bytes) -> bytes:
    """Returns a length-delimited field, whose number is at most 15."""
    return bytes((number << 3 | LENGTH,)) + varint(len(content)) + content
