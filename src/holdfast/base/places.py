"""`Places`: how many callers may be under way with the same thing at once. Belongs to the event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import BusyError


class Places:
    """At most `most` callers have a place. `what` they do is for the error."""

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._most = most
        self._taken = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Takes a place. Raises BusyError when none is free."""
        if self._taken >= self._most:
            raise BusyError(f"{self._taken} {self._what} are under way already: send this one again later")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
