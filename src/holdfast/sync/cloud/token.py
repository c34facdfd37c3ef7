"""The cloud's access token, and when it has to be renewed."""

from __future__ import annotations

import base64
import json
import time
from binascii import Error as Base64Error

_RENEW_AT = 0.8
"""A token is renewed after this share of its life."""


class Token:
    """An access token that was issued just now; with an empty text, no token.

    Its life is measured by the monotonic clock, since a machine's calendar may be wrong. A token that does not say
    how long it lives is never old: it is used until the cloud refuses it.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        life_s = _life_s(text)
        self._renew_s = None if life_s is None else time.monotonic() + _RENEW_AT * life_s

    @property
    def is_old(self) -> bool:
        """Whether the token expires soon and has to be renewed."""
        return self._renew_s is not None and time.monotonic() >= self._renew_s

    def hidden_in(self, text: str) -> str:
        """Returns `text` with the token replaced by `…`."""
        return text.replace(self._text, "…") if self._text else text

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata that a call sends with this token."""
        return (("authorization", f"Bearer {self._text}"),) if self._text else ()


def _life_s(text: str) -> float | None:
    """Returns how many seconds a JWT lives from its issue; None if it does not say."""
    try:
        payload = text.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        life_s = float(claims["exp"]) - float(claims.get("iat", time.time()))
    except (IndexError, KeyError, TypeError, ValueError, Base64Error):
        return None
    return life_s if life_s > 0 else None
