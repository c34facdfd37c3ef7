"""The cloud's access token: whether it can be used, and when it has to be renewed."""

from __future__ import annotations

import base64
import json
import re
import time
from binascii import Error as Base64Error

MAX_CHARS = 16 * 1024
"""The longest token that is sent with each call."""
_USABLE = re.compile(r"[!-~]+")
"""What a header can carry."""
_RENEW_AT = 0.8
"""A token is renewed after this share of its life."""
_TRY_LATER_S = 60.0
_LEAST_LIFE_S = 10.0
"""A token that says that it lives shorter is not renewed earlier for that."""


def why_unusable(text: str) -> str:
    """Returns why a token can't be sent, as a text for users; empty if it can."""
    if not text:
        return "it is empty"
    if len(text) > MAX_CHARS:
        return f"it has {len(text)} characters, and at most {MAX_CHARS} are sent with each call"
    if not _USABLE.fullmatch(text):
        return "it has characters that no header of a call can carry, such as a line break, a space or an umlaut"
    return ""


class Token:
    """An access token that was issued just now; with an empty text, no token.

    Its life is measured by the monotonic clock, since a machine's calendar may be wrong. A token that does not say
    how long it lives, or says it in a way that makes no sense, is never old: it is used until the cloud refuses it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        life_s = _life_s(text)
        self._renew_s = None if life_s is None else time.monotonic() + _RENEW_AT * max(life_s, _LEAST_LIFE_S)

    @property
    def is_old(self) -> bool:
        """Whether the token expires soon and has to be renewed."""
        return self._renew_s is not None and time.monotonic() >= self._renew_s

    def try_later(self) -> None:
        """Notes that the token could not be renewed now: it is not old again before `_TRY_LATER_S`."""
        self._renew_s = time.monotonic() + _TRY_LATER_S

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata that a call sends with this token."""
        return (("authorization", f"Bearer {self.text}"),) if self.text else ()


def _life_s(text: str) -> float | None:
    """Returns how many seconds a JWT lives from its issue; None if it does not say."""
    try:
        payload = text.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        life_s = float(claims["exp"]) - float(claims.get("iat", time.time()))
    except (
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        Base64Error,
    ):
        return None
    return life_s if life_s > 0 else None
