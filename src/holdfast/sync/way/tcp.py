"""TCP connections to a host that may have several addresses, some of which may not answer.

Runs on the event loop.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any

import aiohappyeyeballs

from .lookup import AddressInfo, look_up

NEXT_ADDRESS_S = 0.25
"""How long one address is tried alone: RFC 8305's Connection Attempt Delay."""


async def addresses_of(host: str, port: int) -> Sequence[AddressInfo]:
    """Returns the addresses of `host`, IPv6 and IPv4 in turn, as RFC 8305 ("Happy Eyeballs") orders them.

    Raises OSError as `look_up`.
    """
    families: dict[Any, list[AddressInfo]] = {}
    for info in await look_up(host, port):
        families.setdefault(info[0], []).append(info)
    return [info for info in chain(*zip_longest(*families.values())) if info is not None]


def in_order(addresses: Sequence[AddressInfo], is_doubtful: Callable[[str], bool]) -> Sequence[AddressInfo]:
    """Returns `addresses` with those at the end for whose IP address `is_doubtful` is true."""
    return sorted(addresses, key=lambda info: is_doubtful(info[4][0]))


async def open_tcp(addresses: Sequence[AddressInfo]) -> socket.socket:
    """Returns a socket that is connected to one of `addresses` and does not block; the caller closes it.

    Each address is tried a moment after the one before it, and the first connection that stands is returned. Raises
    OSError when no address accepts. When cancelled, nothing stays open.
    """
    return await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=0)


def reason(error: OSError) -> str:
    """Returns why a connection failed, as a text for users: asyncio puts the address in place of the reason."""
    if error.errno is not None and error.errno > 0:  # the numbers of name resolution are negative
        return os.strerror(error.errno)
    return error.strerror or str(error)
