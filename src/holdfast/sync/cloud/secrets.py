"""Keeps the key and the token out of the texts that the cloud sends, in which it may repeat what it got.

Parts of a secret are hidden too, from `LEAST_CHARS` letters and digits on, whatever their case and whatever stands
between them, and so are its usual encodings: percent, base64 and hexadecimal.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import groupby
from urllib.parse import quote

LEAST_CHARS = 8
_HIDDEN = "…"


class Secrets:
    """Texts that must not be shown. Made once for each key and token, since it encodes them."""

    def __init__(self, *secrets: str) -> None:
        letters = [_lower("".join(filter(str.isalnum, secret))) for secret in secrets]
        self._short = tuple(each for each in letters if 0 < len(each) < LEAST_CHARS)
        encoded = (form for secret in secrets for form in _encodings(secret))
        self._parts = "\n".join((*letters, *(_lower("".join(filter(str.isalnum, form))) for form in encoded)))

    def hidden_in(self, text: str) -> str:
        """Returns `text` with `…` in place of each secret, and of each part of one."""
        places = [place for place, char in enumerate(text) if char.isalnum()]
        letters = _lower("".join(text[place] for place in places))
        hidden = bytearray(len(text))
        for begin in range(len(letters)):
            end = begin + self._size_at(letters, begin)
            if end > begin:
                first, last = places[begin], places[end - 1]
                hidden[first : last + 1] = b"\1" * (last + 1 - first)
        runs = groupby(zip(text, hidden, strict=True), key=lambda pair: pair[1])
        return "".join(_HIDDEN if is_hidden else "".join(char for char, _ in run) for is_hidden, run in runs)

    def _size_at(self, letters: str, begin: int) -> int:
        """Returns how many letters from `begin` on are of a secret; 0 if none is."""
        part = letters[begin : begin + LEAST_CHARS]
        if len(part) == LEAST_CHARS and part in self._parts:
            return LEAST_CHARS
        return max((len(short) for short in self._short if letters.startswith(short, begin)), default=0)


def _lower(letters: str) -> str:
    """Returns the same number of letters, in lower case."""
    return letters.lower() if letters.isascii() else "".join(letter.lower()[0] for letter in letters)


def _encodings(secret: str) -> Iterator[str]:
    data = secret.encode("utf-8", "surrogatepass")
    yield quote(data, safe="")
    yield data.hex()
    for behind in range(min(3, len(data))):  # what stands before the secret decides how its bytes fall into groups
        yield base64.b64encode(data[behind:]).decode()
