"""The addresses of a name.

Where no DNS server answers, a lookup may hold up a worker thread of the event loop for a minute. So at most
`MAX_LOOKUPS` of a name go on at once, and the other worker threads are left to others. A lookup that takes longer
is not waited for, but its result is taken by who asks next. No thread is begun for it: on the event loop that can
hang for ever when memory is short.

Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

LOOKUP_S = 8.0
"""How long a lookup is waited for. The next one begins anew, since the computer may have another DNS server now."""
MAX_LOOKUPS = 2
"""How many worker threads one name may hold up."""

AddressInfo = tuple[Any, Any, int, str, Any]
"""One address, as `getaddrinfo` returns it."""
_Lookup = asyncio.Future["list[AddressInfo] | OSError"]

_lookups: dict[tuple[asyncio.AbstractEventLoop, str, int], list[_Lookup]] = {}
"""The lookups that have not ended, the newest one last."""


async def look_up(host: str, port: int) -> Sequence[AddressInfo]:
    """Returns the addresses of `host`, which may be one itself. Raises OSError when there are none, and when no DNS
    server answers within `LOOKUP_S`."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):  # it is a name
        pass
    key = (asyncio.get_running_loop(), host, port)
    lookups = _lookups.get(key, [])
    if len(lookups) < MAX_LOOKUPS:
        begun = asyncio.ensure_future(asyncio.to_thread(_look_up, host, port))
        begun.add_done_callback(lambda ended: _forget(key, ended))
        lookups = _lookups.setdefault(key, lookups)
        lookups.append(begun)
    done, _ = await asyncio.wait(lookups, timeout=LOOKUP_S, return_when=asyncio.FIRST_COMPLETED)
    if not done:
        raise OSError("no DNS server answers")
    found = done.pop().result()
    if isinstance(found, OSError):
        raise found
    return found


def _look_up(host: str, port: int) -> list[AddressInfo] | OSError:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except ValueError:  # a part of the name is empty or too long, or has a character that no name has
        return OSError("this is no name of a computer")


def _forget(key: tuple[asyncio.AbstractEventLoop, str, int], ended: _Lookup) -> None:
    _lookups[key].remove(ended)
    if not _lookups[key]:
        del _lookups[key]
