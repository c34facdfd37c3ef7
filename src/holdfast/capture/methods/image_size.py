"""Reads an image's width and height from its first bytes, for the formats that RDK's cameras use."""

from __future__ import annotations

import struct

from .method import unusable
from .steps import Steps

_PNG, _JPEG, _QOI, _RGBA, _DEPTH = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"qoif", b"RGBA", b"DEPTHMAP"
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2)
_JPEG_ALONE = (0x01, *range(0xD0, 0xD9))
"""The markers without a length after them."""


def image_size(image: memoryview, steps: Steps) -> tuple[int, int]:
    """Returns width and height in pixels. Raises ResourceCallError if they can't be read; each
    marker of a JPEG is a step."""
    start = bytes(image[:24])
    size = (0, 0)
    try:
        if start.startswith(_JPEG):
            size = _jpeg(image, steps)
        elif start.startswith(_PNG):
            size = struct.unpack_from(">II", start, 16)
        elif start.startswith((_QOI, _RGBA)):
            size = struct.unpack_from(">II", start, 4)
        elif start.startswith(_DEPTH):
            size = struct.unpack_from(">QQ", start, 8)
    except (struct.error, IndexError):
        pass
    if not all(size):
        raise unusable("the size of the image is not known, so the boxes on it can't be stored")
    return size


def _jpeg(image: memoryview, steps: Steps) -> tuple[int, int]:
    offset = len(_JPEG)
    while image[offset] == 0xFF:
        steps.take()
        marker = image[offset + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", image, offset + 5)
            return width, height
        if marker == 0xFF:
            offset += 1
        elif marker in _JPEG_ALONE:
            offset += 2
        else:
            offset += 2 + struct.unpack_from(">H", image, offset + 2)[0]
    return 0, 0
