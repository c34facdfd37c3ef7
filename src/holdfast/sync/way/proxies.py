"""Which proxies the environment asks for, read as viam-server reads it.

| variable | what it does |
|---|---|
| SOCKS_PROXY=host:port | a SOCKS5 proxy, tried a moment after the direct way (goutils, rpc/dialer.go) |
| ONLY_SOCKS_PROXY=1 | only the SOCKS proxy is tried |
| HTTPS_PROXY=http://user:password@host:port | an HTTP proxy (CONNECT), in place of the direct way (grpc-go) |
| NO_PROXY=host,.domain,10.0.0.0/8 | the hosts that HTTPS_PROXY is not for (golang.org/x/net/http/httpproxy) |

The last two are also read in lower case, and not at all while SOCKS_PROXY is set. HTTP_PROXY is never read. No
proxy is asked for an address on this computer. A value that can't be used is a problem, and then counts as not set,
as in viam-server. No text that is made here has a password in it.

Plain functions without state.
"""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote, urlsplit

from ...base.words import shown
from ...config import Endpoint, joined

_SOCKS, _ONLY_SOCKS = "SOCKS_PROXY", "ONLY_SOCKS_PROXY"
_HTTPS, _NOT_FOR = ("HTTPS_PROXY", "https_proxy"), ("NO_PROXY", "no_proxy")
VARIABLES = (_SOCKS, _ONLY_SOCKS, *_HTTPS, *_NOT_FOR)
"""The variables that are read here."""


class Kind(Enum):
    """What a proxy speaks."""

    SOCKS5 = "SOCKS5"
    HTTP = "HTTP"


_KINDS = {"http": Kind.HTTP, "https": Kind.HTTP, "socks5": Kind.SOCKS5, "socks5h": Kind.SOCKS5}
_PORTS = {Kind.HTTP: 443, Kind.SOCKS5: 1080}
"""The ports where a value names none. For HTTP it is the one that grpc-go uses, whatever the scheme."""


@dataclass(frozen=True)
class Proxy:
    """A proxy, and the variable that names it. As a text it has neither user nor password."""

    kind: Kind
    host: str
    port: int
    variable: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"the {self.kind.value} proxy {joined(self.host, self.port)} ({self.variable})"

    @property
    def basic_login(self) -> str:
        """User and password as HTTP wants them; empty without a user."""
        return b64encode(f"{self.user}:{self.password}".encode()).decode() if self.user else ""

    def hidden_in(self, answer: str) -> str:
        """Returns what the proxy answered, which may repeat what it got, with the password replaced by `…`."""
        for secret in (self.basic_login, self.password):
            answer = answer.replace(secret, "…") if secret else answer
        return answer


@dataclass(frozen=True)
class Routes:
    """What may be tried to reach one endpoint. `problems` says what can't be used, as texts for users."""

    direct: bool = True
    proxy: Proxy | None = None
    problems: tuple[str, ...] = ()

    @classmethod
    def to(cls, endpoint: Endpoint, environment: Mapping[str, str]) -> Routes:
        """Returns what `environment` wants for `endpoint`."""
        if endpoint.is_local:
            return cls()
        if environment.get(_SOCKS):
            return cls(not environment.get(_ONLY_SOCKS), *_read(_SOCKS, environment[_SOCKS], Kind.SOCKS5))
        problems: tuple[str, ...] = ()
        if environment.get(_ONLY_SOCKS):
            problems = (f"{_ONLY_SOCKS} is set, but {_SOCKS} is not, so it has no effect",)
        variable = next((name for name in _HTTPS if environment.get(name)), None)
        exceptions = next((environment[name] for name in _NOT_FOR if environment.get(name)), "")
        if variable is None or _is_excepted(endpoint, exceptions):
            return cls(problems=problems)
        proxy, more = _read(variable, environment[variable], Kind.HTTP)
        return cls(proxy is None, proxy, (*problems, *more))


def _read(variable: str, text: str, usual: Kind) -> tuple[Proxy | None, tuple[str, ...]]:
    """Returns the proxy that `text` names, None if it names none, and what is wrong with it."""
    form = "host:port" if usual is Kind.SOCKS5 else "http://host:port, or http://user:password@host:port"
    hidden = "@" in text
    value = "(not shown, since it may hold a password)" if hidden else shown(text)
    try:
        parts = urlsplit(text if "://" in text else f"{usual.name.lower()}://{text}")
        host, port = parts.hostname, parts.port
        if "@" in parts.path + parts.query + parts.fragment:
            raise ValueError
    except ValueError as error:
        why = "host or port is wrong, or a special character is not written as %XX" if hidden else error
        return None, (f"{variable} {value} can't be used: {why}; write {form}",)
    if not host:
        return None, (f"{variable} {value} can't be used: it names no host; write {form}",)
    kind = _KINDS.get(parts.scheme, usual)
    problems: tuple[str, ...] = ()
    if parts.scheme not in _KINDS:
        problems = (f"{variable} begins with {parts.scheme}://, which is not known; it is used as {usual.value}",)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(kind, host, port or _PORTS[kind], variable, user, password), problems


def _is_excepted(endpoint: Endpoint, exceptions: str) -> bool:
    """Returns whether the list `exceptions` (NO_PROXY) contains `endpoint`."""
    host, address = endpoint.host.lower(), None
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
    for entry in (each.strip().lower() for each in exceptions.split(",")):
        if entry == "*":
            return True
        if "/" in entry:
            with suppress(ValueError):
                if address is not None and address in ipaddress.ip_network(entry, strict=False):
                    return True
            continue
        name, port = _split(entry)
        if not name or port not in ("", str(endpoint.port)):
            continue
        if address is not None:
            with suppress(ValueError):
                if ipaddress.ip_address(name) == address:
                    return True
            continue
        domain = name.removeprefix("*")
        if host.endswith(domain if domain.startswith(".") else f".{domain}") or host == domain:
            return True
    return False


def _split(entry: str) -> tuple[str, str]:
    """Returns host and port of an entry; the port is empty where there is none."""
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        return host, port.removeprefix(":")
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, port
    return entry, ""
