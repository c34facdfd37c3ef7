"""Lines of a text file that carry their own check: the CRC-32 of a text in hexadecimal, a space, the text."""

from __future__ import annotations

import zlib


def encode(text: bytes) -> bytes:
    """Returns the line for `text`, which must not contain a line break."""
    return b"%08x %b\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> bytes | None:
    """Returns the text of a line, which comes without its line break; None when its check does not match."""
    check, _, text = line.partition(b" ")
    return text if check == b"%08x" % zlib.crc32(text) else None
