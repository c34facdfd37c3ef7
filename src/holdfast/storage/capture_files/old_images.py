"""Reads old files of camera.GetImages, from before the builtin gave each image a file of its own.

Their header says binary, and a reading in them is the whole answer as a `Struct`: {"images": [{"source_name": …,
"format": …, "image": [each byte, as a number]}, …], "response_metadata": …}. Today's builtin makes a binary reading
of each image in it, with the times of the whole answer, and without an extension, since it does not find the format
under the name that the file has for it. Holdfast sends the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from google.protobuf.message import DecodeError
from viam.proto.app.datasync import DataCaptureMetadata, DataType, SensorMetadata

from .protobuf_wire import fields, last

GET_IMAGES = "GetImages"
MAX_ENTRIES = 1_000
"""How many images an answer may have, and how many entries each part of it; one with more is none of these."""
_METADATA, _STRUCT, _BINARY = 1, 2, 3  # fields of SensorData
_OBJECT, _LIST = 5, 6  # fields of Value
_NUMBER_HEAD = b"\x0a\x09\x11"  # an element of a ListValue: a Value of 9 bytes that holds a double
_NUMBER_BYTES = len(_NUMBER_HEAD) + 8
_ONE_NUMBER = struct.Struct("<3xd")


def may_hold_old_images(header: DataCaptureMetadata) -> bool:
    """Whether a file with this header may be one of these; only its readings say for certain."""
    return header.type == DataType.DATA_TYPE_BINARY_SENSOR and header.method_name == GET_IMAGES


def old_images(reading: bytes) -> tuple[SensorMetadata, list[bytes]] | None:
    """Returns the metadata of a serialized `SensorData` and the images in it; None when it is no reading of
    these."""
    message = memoryview(reading)
    try:
        if last(message, _BINARY) is not None or (answer := last(message, _STRUCT)) is None:
            return None
        images = _under(answer, b"images")
        if images is None:
            return None
        listed = last(images, _LIST) or memoryview(b"")  # none at all is null
        found = [_image(value) for _, value in _few(listed) if isinstance(value, memoryview)]
        return SensorMetadata.FromString(bytes(last(message, _METADATA) or b"")), found
    except (ValueError, OverflowError, DecodeError):
        return None


def _image(value: memoryview) -> bytes:
    entry = last(value, _OBJECT)
    if entry is None:
        raise ValueError("an image that is no object")
    numbers = _under(entry, b"image")
    return b"" if numbers is None else bytes(_numbers(last(numbers, _LIST)))


def _under(entries: memoryview, key: bytes) -> memoryview | None:
    """Returns the `Value` under a key of a `Struct`; None when there is none."""
    found = None
    for _, entry in _few(entries):
        if isinstance(entry, memoryview) and bytes(last(entry, 1) or b"") == key:
            found = last(entry, 2)
    return found


def _few(message: memoryview) -> Iterator[tuple[int, int | memoryview | None]]:
    """Yields the fields of a message. Raises ValueError if these are more than `MAX_ENTRIES`."""
    for count, field in enumerate(fields(message), start=1):
        if count > MAX_ENTRIES:
            raise ValueError("it has too many parts")
        yield field


def _numbers(listed: memoryview | None) -> Iterator[int]:
    """Returns the numbers in a `ListValue`, each of which must be a byte. Works without a loop over elements, since
    an image has as many as bytes. Raises ValueError for other elements."""
    if listed is None:
        raise ValueError("an image that is no list")
    count = len(listed) // _NUMBER_BYTES
    heads = [bytes(listed[place::_NUMBER_BYTES]) for place in range(len(_NUMBER_HEAD))]
    if heads != [bytes([byte]) * count for byte in _NUMBER_HEAD]:
        raise ValueError("an image with elements that are no numbers")
    return (int(number) for (number,) in _ONE_NUMBER.iter_unpack(listed))
