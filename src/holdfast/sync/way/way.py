"""The way to the cloud: which one there is, and connections over it. Runs on the event loop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ...base.tasks import begin
from ...config import Endpoint, joined
from ...errors import CloudError
from .proxies import Proxy, Routes
from .tcp import addresses_of, in_order, open_tcp, reason
from .through_proxy import open_through

TIMEOUT_S = 10.0
"""How long a way is looked for, and how long one connection over it may take."""
PROXY_AFTER_S = 0.3
"""How long the direct way is tried alone."""
_DOUBTFUL_AFTER_S = 2.0
_DOUBT_S = 600.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Way:
    """One way to `endpoint`: directly at `address`, an IP address, or else through `proxy`."""

    endpoint: Endpoint
    address: str = ""
    proxy: Proxy | None = None

    @property
    def port(self) -> int:
        """The TCP port that this computer's connections over it go to."""
        return self.endpoint.port if self.proxy is None else self.proxy.port

    def __str__(self) -> str:
        if self.proxy is not None:
            return f"through {self.proxy}"
        return f"directly to {joined(self.address, self.endpoint.port)}"

    async def open(self) -> socket.socket:
        """Returns a socket that is connected to the endpoint and does not block; the caller closes it.

        Raises CloudError when that fails, or takes longer than `TIMEOUT_S`. When cancelled, nothing stays open.
        """
        if self.proxy is None:
            return await _in_time(self._open_directly(), f"{self.endpoint} does not answer", socket.socket.close)
        opening = open_through(self.proxy, self.endpoint)
        return await _in_time(opening, f"{self.proxy} does not answer", socket.socket.close)

    async def probe(self) -> None:
        """Opens a connection and closes it again. Raises CloudError as `open`."""
        (await self.open()).close()

    async def _open_directly(self) -> socket.socket:
        try:
            return await open_tcp(await addresses_of(self.address, self.endpoint.port))
        except OSError as error:
            raise _unreachable(self.endpoint, error) from error


class Doubts:
    """The addresses and proxies that accepted a connection lately, over which then nothing came through. They are
    tried last, for ten minutes."""

    def __init__(self) -> None:
        self._until_s: dict[str, float] = {}

    def note(self, way: Way) -> None:
        """Notes that a connection over `way` was of no use."""
        now_s = time.monotonic()
        self._until_s = {key: until_s for key, until_s in self._until_s.items() if until_s > now_s}
        self._until_s[way.address] = now_s + _DOUBT_S

    def about(self, address: str) -> bool:
        """Returns whether this IP address is doubtful; an empty text stands for the proxy."""
        return self._until_s.get(address, 0.0) > time.monotonic()


async def find_way(endpoint: Endpoint, routes: Routes, doubts: Doubts) -> Way:
    """Returns a way over which a connection just stood.

    Where there are two, the direct one is tried first, the proxy a moment later or as soon as the direct way fails,
    and what stands first is returned, as goutils does (rpc/dialer.go). Raises CloudError when nothing stands within
    `TIMEOUT_S`. When cancelled, nothing stays open.
    """
    proxy = routes.proxy
    if proxy is None and not routes.direct:
        raise CloudError("INVALID_ADDRESS", "; ".join(routes.problems), connected=False)
    if proxy is None:
        return await _in_time(_directly(endpoint, doubts), f"{endpoint} does not answer")
    if not routes.direct:
        return await _in_time(_through(endpoint, proxy), f"{proxy} does not answer")
    both = _first_of(
        lambda: _directly(endpoint, doubts, lead=not doubts.about("")),
        lambda: _through(endpoint, proxy),
    )
    return await _in_time(both, f"{endpoint} does not answer, neither directly nor through {proxy}")


async def _directly(endpoint: Endpoint, doubts: Doubts, *, lead: bool = False) -> Way:
    """`lead` says that something else gets a start when all addresses are doubtful."""
    try:
        addresses = await addresses_of(endpoint.host, endpoint.port)
        if lead and all(doubts.about(info[4][0]) for info in addresses):
            await asyncio.sleep(_DOUBTFUL_AFTER_S)
        with await open_tcp(in_order(addresses, doubts.about)) as opened:
            return Way(endpoint, address=opened.getpeername()[0])
    except OSError as error:
        raise _unreachable(endpoint, error) from error


async def _through(endpoint: Endpoint, proxy: Proxy) -> Way:
    with await open_through(proxy, endpoint):
        return Way(endpoint, proxy=proxy)


async def _first_of(*attempts: Callable[[], Coroutine[Any, Any, Way]]) -> Way:
    """Begins each attempt a moment after the one before it, or as soon as all before it have failed.

    Returns the result that comes first. Raises CloudError, with the reasons of all, when all fail.
    """
    tasks: list[asyncio.Task[Way]] = []
    try:
        for attempt in attempts:
            tasks.append(begin(attempt(), "holdfast-way"))
            if found := await _first_success(tasks, PROXY_AFTER_S if len(tasks) < len(attempts) else None):
                return found
        raise _together([task.exception() for task in tasks])
    finally:
        for task in tasks:
            task.cancel()


def _together(errors: Sequence[BaseException | None]) -> BaseException:
    """Returns one error for all, or the first one that was not foreseen."""
    reasons = []
    for error in errors:
        if error is not None and not isinstance(error, CloudError):
            return error
        reasons += [error.message] if error is not None else []
    return CloudError("UNAVAILABLE", "; ".join(reasons), connected=False)


async def _first_success(tasks: list[asyncio.Task[Way]], timeout_s: float | None) -> Way | None:
    """Returns the result of the first task that succeeds; None when all failed or the time is over."""
    ends = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        for task in tasks:
            if task.done() and task.exception() is None:
                return task.result()
        pending = [task for task in tasks if not task.done()]
        left_s = None if ends is None else ends - time.monotonic()
        if not pending or (left_s is not None and left_s <= 0):
            return None
        await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)


async def _in_time(
    work: Coroutine[Any, Any, Result], why_not: str, discard: Callable[[Result], object] = lambda result: None
) -> Result:
    """Returns the result of `work`. Raises CloudError, with the text `why_not`, when it takes too long.

    `discard` gets a result that comes when nobody waits for it any more. This is not asyncio.wait_for, which before
    Python 3.12 loses a cancellation that comes at the moment of the result.
    """
    task = asyncio.ensure_future(work)

    def discard_result(ended: asyncio.Future[Result]) -> None:
        if not ended.cancelled() and ended.exception() is None:
            discard(ended.result())

    try:
        await asyncio.wait([task], timeout=TIMEOUT_S)
    except asyncio.CancelledError:
        task.add_done_callback(discard_result)
        task.cancel()
        raise
    if not task.done():
        task.add_done_callback(discard_result)
        task.cancel()
        raise CloudError("UNAVAILABLE", why_not, connected=False)
    return task.result()


def _unreachable(endpoint: Endpoint, error: OSError) -> CloudError:
    return CloudError("UNAVAILABLE", f"can't connect to {endpoint}: {reason(error)}", connected=False)
