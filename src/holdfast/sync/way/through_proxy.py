"""Connections through a proxy. The proxy resolves the cloud's name. What goes wrong becomes a CloudError, which
names the proxy and its variable, and says what helps.

SOCKS5 is the matter of the library python-socks, which is imported when it is first needed, since that takes 40 ms.
Its HTTP CONNECT is not used: it takes the first packet of an answer for all of it, and what follows for the
cloud's.

Runs on the event loop. The caller limits the time.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ...base.words import shown
from ...config import Endpoint, joined
from ...errors import CloudError
from .proxies import Kind, Proxy
from .tcp import addresses_of, open_tcp, reason

_MOST_HEAD_BYTES = 16 * 1024


async def open_through(proxy: Proxy, endpoint: Endpoint) -> socket.socket:
    """Returns a socket that is connected to `endpoint` through `proxy` and does not block. Raises CloudError."""
    try:
        opened = await open_tcp(await addresses_of(proxy.host, proxy.port))
    except OSError as error:
        raise _failure(f"can't connect to {proxy}: {reason(error)}") from error
    try:
        await (_socks5 if proxy.kind is Kind.SOCKS5 else _connect)(opened, proxy, endpoint)
    except OSError as error:
        opened.close()
        raise _failure(f"{proxy} broke the connection: {reason(error)}") from error
    except BaseException:
        opened.close()
        raise
    return opened


async def _socks5(opened: socket.socket, proxy: Proxy, endpoint: Endpoint) -> None:
    from python_socks import ProxyError, ProxyType
    from python_socks.async_.asyncio import Proxy as Socks

    class Opened(Socks):
        """In place of the library's own connection to the proxy, which tries one address only."""

        def __init__(self) -> None:
            pass

        async def connect(self, dest_host: str, dest_port: int, timeout: Any = None, **_: Any) -> socket.socket:
            return opened

    through = Socks(
        ProxyType.SOCKS5,
        proxy.host,
        proxy.port,
        username=proxy.user or None,
        password=proxy.password or None,
        rdns=True,
        forward=Opened(),
    )
    try:
        await through.connect(endpoint.host, endpoint.port)
    except ProxyError as error:
        raise _failure(f"{proxy} gives no way to {endpoint}: {error or 'it ended the connection'}") from error
    except ValueError as error:  # what SOCKS5 can't express, such as a password with other letters than ASCII's
        raise _failure(f"{proxy}: the user, the password or the cloud's name can't be sent to it") from error


async def _connect(opened: socket.socket, proxy: Proxy, endpoint: Endpoint) -> None:
    target = joined(endpoint.host, endpoint.port)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", "User-Agent: holdfast"]
    if proxy.user:
        lines.append(f"Proxy-Authorization: Basic {proxy.basic_login}")
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(opened, "".join(f"{line}\r\n" for line in (*lines, "")).encode())
    status = proxy.hidden_in(await _status_of_answer(opened, proxy))
    if status == "200" or status.startswith("200 "):
        return
    if status.startswith(("407", "401")):
        what = "does not accept the user and password of" if proxy.user else "wants a user and a password in"
        why = f"{what} {proxy.variable}: http://user:password@host:port, with %XX for special characters"
        raise _failure(f"{proxy} {why} (it answers {shown(status)})")
    raise _failure(f"{proxy} gives no way to {endpoint}: it answers {shown(status)}")


async def _status_of_answer(opened: socket.socket, proxy: Proxy) -> str:
    """Reads the head of an HTTP answer, and no byte more: what follows is the cloud's. Returns its status."""
    loop, head = asyncio.get_running_loop(), b""
    while not head.endswith((b"\r\n\r\n", b"\n\n")):
        byte = await loop.sock_recv(opened, 1)
        head += byte
        is_http = head[:5] == b"HTTP/"[: len(head)]
        if not byte or not is_http or len(head) > _MOST_HEAD_BYTES:
            if not head:
                raise _failure(f"{proxy} ends the connection without an answer")
            why = "the answer has no end" if byte and is_http else f"it answers {shown(head[:40])}"
            raise _failure(f"{proxy} does not speak HTTP: {why}")
    return head.split(b"\n")[0].partition(b" ")[2].strip().decode("latin-1")


def _failure(message: str) -> CloudError:
    return CloudError("UNAVAILABLE", message, connected=False)
