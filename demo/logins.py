"""Who may call the local cloud: keys for logging in, and the tokens that were given for them."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

from viam.proto.rpc.auth import AuthenticateRequest

# The oldest token goes when there are more; its owner has to log in again.
MAX_TOKENS = 1000
# A machine's own credentials: any secret will do, since the demo has one machine only.
_MACHINE_CREDENTIALS = ("robot-secret", "robot-location-secret")


class Logins:
    """`api_keys` maps key id to key; None lets everybody in."""

    def __init__(self, api_keys: Mapping[str, str] | None) -> None:
        self._api_keys = api_keys
        self._tokens: dict[str, None] = {}

    def log_in(self, asked: AuthenticateRequest) -> str | None:
        """A new token, or None if the credentials are wrong."""
        if not self._is_right(asked):
            return None
        token = secrets.token_urlsafe()
        self._tokens[token] = None
        if len(self._tokens) > MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        return token

    def knows(self, authorization: str) -> bool:
        """Whether this is the `authorization` header of somebody who is logged in."""
        kind, _, token = authorization.partition(" ")
        return kind == "Bearer" and token in self._tokens

    def revoke_all(self) -> None:
        self._tokens.clear()

    def _is_right(self, asked: AuthenticateRequest) -> bool:
        if self._api_keys is None or asked.credentials.type in _MACHINE_CREDENTIALS:
            return True
        key = self._api_keys.get(asked.entity)
        if asked.credentials.type != "api-key" or key is None:
            return False
        return hmac.compare_digest(key.encode(), asked.credentials.payload.encode())
