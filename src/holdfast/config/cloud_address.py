"""The attribute `cloud_address`: where the cloud is, and whether data may go there unencrypted."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..base.words import shown
from ..errors import ConfigError

_HOST = re.compile(r"[\w.:%-]+", re.ASCII)


@dataclass(frozen=True)
class Endpoint:
    """A server to connect to."""

    host: str
    port: int
    is_plaintext: bool = False

    @property
    def is_local(self) -> bool:
        """Whether it is on this computer."""
        if self.host == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return address.is_loopback or address.is_unspecified

    def __str__(self) -> str:
        return joined(self.host, self.port)


def joined(host: str, port: int) -> str:
    """Returns host and port as one text, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def endpoint(address: str, *, allow_plaintext: bool) -> Endpoint:
    """Returns what `address` means; without a scheme it is https.

    Raises ConfigError if it is not `https://host[:port]` or would send data unencrypted to another computer without
    `allow_plaintext`. The text shows no password.
    """
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _error(f"{_shown(address)} is not https://host[:port]: {error}") from error
    rest = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or port == 0 or rest:
        raise _error(f"{_shown(address)} is not https://host[:port]")
    is_plaintext = parts.scheme == "http"
    found = Endpoint(host, port or (80 if is_plaintext else 443), is_plaintext)
    if is_plaintext and not allow_plaintext and not found.is_local:
        raise _error(f"{_shown(address)} would send data unencrypted; use https, or set allow_plaintext")
    return found


def _error(why: str) -> ConfigError:
    return ConfigError("cloud_address", why)


def _shown(address: str) -> str:
    return "the address with a user or password" if "@" in address else shown(address)
