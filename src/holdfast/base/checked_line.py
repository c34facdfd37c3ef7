"""A line of a text file that checks itself: the CRC-32 of a text in hexadecimal, and the text."""

from __future__ import annotations

import zlib


def encode(text: bytes) -> bytes:
    """The line of a text, which holds no line break itself."""
    return b"%08x %b\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> bytes | None:
    """The text of a line without its line break; None where its check does not fit."""
    check, _, text = line.partition(b" ")
    return text if check == b"%08x" % zlib.crc32(text) else None
