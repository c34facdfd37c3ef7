"""`Logins` decides which clients may call the local cloud: it holds API keys, and the tokens issued for them."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

from viam.proto.rpc.auth import AuthenticateRequest

# Beyond this number the oldest token becomes invalid, and its client has to log in again.
MAX_TOKENS = 1000
# The types of a machine's own credentials: any secret is accepted, since the demo has only one machine.
_MACHINE_CREDENTIALS = ("robot-secret", "robot-location-secret")


class Logins:
    """The keys and tokens of one cloud. `api_keys` maps key id to key; with None, every login succeeds."""

    def __init__(self, api_keys: Mapping[str, str] | None) -> None:
        self._api_keys = api_keys
        self._tokens: dict[str, None] = {}

    def log_in(self, asked: AuthenticateRequest) -> str | None:
        """Returns a new token, or None if the credentials are wrong."""
        if not self._is_right(asked):
            return None
        token = secrets.token_urlsafe()
        self._tokens[token] = None
        if len(self._tokens) > MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        return token

    def knows(self, authorization: str) -> bool:
        """Returns whether this `authorization` header has a valid token."""
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
