"""Data that came with a request, and the memory that all such data may take together.

An *attachment* is data, or a text that is too long for an ordinary argument. It is in memory once, as it came, and
is decoded when it is opened. Whoever passes it on holds the attachment and never what is in it: so nothing is left
of the data when it was opened, or when the last holder is gone, and its share of the budget is free again.
"""

from __future__ import annotations

import base64
import binascii
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import BusyError, CommandError
from .words import size

_STEP_CHARS = 1024 * 1024
"""So much base64 is decoded at once: Python runs nothing else meanwhile. A multiple of 4."""


class Budget:
    """The bytes that may be reserved at once. Safe to use from any thread."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._reserved_bytes = 0
        self._given_back: deque[int] = deque()
        """What is no longer reserved. The garbage collector gives shares back too, at any moment, also to who has
        the lock: so that must not take it."""

    @property
    def reserved_bytes(self) -> int:
        with self._lock:
            return self._now_reserved()

    def reserve(self, size_bytes: int) -> Share:
        """Reserves memory before it is taken. Raises BusyError when too much is reserved already."""
        with self._lock:
            reserved_bytes = self._now_reserved()
            fits = reserved_bytes + size_bytes <= self.most_bytes
            if fits:
                self._reserved_bytes += size_bytes
        if not fits:
            raise BusyError(
                f"the requests that are under way bring {size(reserved_bytes)} of data already, and may bring "
                f"{size(self.most_bytes)} together: this one, of {size(size_bytes)}, was not read and nothing "
                "of it is kept; send it again later"
            )
        return Share(self._given_back, size_bytes)

    def _now_reserved(self) -> int:
        while self._given_back:
            self._reserved_bytes -= self._given_back.popleft()
        return self._reserved_bytes


class Share:
    """A part of a budget, for as long as somebody holds this object, or until `end`."""

    def __init__(self, given_back: deque[int], size_bytes: int) -> None:
        self._finalizer = weakref.finalize(self, given_back.append, size_bytes)

    def end(self) -> None:
        """Gives the part back now. May be called twice."""
        self._finalizer()


class Attachment:
    """See the module's docstring. `len()` is the size as it came, in bytes."""

    def __init__(self, content: bytes | memoryview, share: Share | None = None, *, is_base64: bool = False) -> None:
        self._content: bytes | memoryview | None = content
        self._share = share
        self._is_base64 = is_base64
        self._size_bytes = len(content)

    def __len__(self) -> int:
        return self._size_bytes

    def __repr__(self) -> str:
        return f"<{size(self._size_bytes)} of data>"

    def of_base64(self) -> Attachment:
        """Returns an attachment with the same data, which is in base64; this one is empty from now on."""
        content, self._content = self._content, None
        share, self._share = self._share, None
        return Attachment(content or b"", share, is_base64=True)

    @contextmanager
    def opened(self) -> Iterator[bytes]:
        """Gives the data, once: the attachment is empty from then on, and its share of the budget free at the end.

        Raises CommandError when it is not the base64 that it should be. Decoding takes long: call it on a worker
        thread.
        """
        content, self._content = self._content, None
        if content is None:
            raise CommandError("its data was used already")
        try:
            yield _decoded(content) if self._is_base64 else bytes(content)
        finally:
            del content
            self._share = None


def _decoded(text: bytes | memoryview) -> bytes:
    """Decodes base64 in steps, between which other threads run."""
    parts = []
    for begin in range(0, len(text), _STEP_CHARS):
        part = bytes(text[begin : begin + _STEP_CHARS])
        if b"=" in part and begin + _STEP_CHARS < len(text):
            raise CommandError("data must be base64: there is more after its end")
        try:
            parts.append(base64.b64decode(part, validate=True))
        except binascii.Error as error:
            raise CommandError(f"data must be base64: {error}") from error
    return b"".join(parts)
