"""`Noted` is a text that has the time at which it was noted, such as a last error: one of days ago may be over."""

from __future__ import annotations


class Noted(str):
    """A text, and when it was noted, on the monotonic clock in seconds."""

    at_s: float

    def __new__(cls, text: str, at_s: float) -> Noted:
        noted = super().__new__(cls, text)
        noted.at_s = at_s
        return noted
