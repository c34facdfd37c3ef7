"""The cloud's access token, and when it is to be renewed."""

from __future__ import annotations

import base64
import json
import time
from binascii import Error as Base64Error

_RENEW_AT = 0.8
"""Of a token's life."""


class Token:
    """An access token that was given just now. One whose life is not told is never old: the cloud refuses it.

    Its life is measured by the monotonic clock, since a machine's calendar may be wrong.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        life_s = _life_s(text)
        self._renew_s = None if life_s is None else time.monotonic() + _RENEW_AT * life_s

    @property
    def is_old(self) -> bool:
        """Whether it expires soon."""
        return self._renew_s is not None and time.monotonic() >= self._renew_s

    def hidden_in(self, text: str) -> str:
        """`text` without the token."""
        return text.replace(self._text, "…") if self._text else text

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call carries."""
        return (("authorization", f"Bearer {self._text}"),) if self._text else ()


def _life_s(text: str) -> float | None:
    """The seconds between issue and expiry that a JWT tells; None where it tells none."""
    try:
        payload = text.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        life_s = float(claims["exp"]) - float(claims.get("iat", time.time()))
    except (IndexError, KeyError, TypeError, ValueError, Base64Error):
        return None
    return life_s if life_s > 0 else None
