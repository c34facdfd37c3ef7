"""`ways` are the ways to a cloud that are compared: directly, and through real proxies, which run meanwhile.

The cloud is on this computer, under a name for which the data manager asks a proxy. This needs root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.hosts import HOST, seeing
from tests.proxies import http_proxy, socks_proxy

DIRECTLY, SOCKS, HTTP = "directly", "through a SOCKS5 proxy", "through an HTTP proxy"


@dataclass(frozen=True)
class Way:
    """What makes a viam-server and its modules go one way."""

    prefix: Sequence[str]
    """A command that runs viam-server."""
    environment: Mapping[str, str]
    proxy: psutil.Process | None = None

    def address(self, port: int) -> str:
        """Returns the address of a cloud on this computer, for programs that go this way."""
        return f"http://{HOST}:{port}"

    def proxy_cpu_s(self) -> float:
        """Returns the CPU seconds of the proxy so far; 0 without one."""
        return sum(self.proxy.cpu_times()[:2]) if self.proxy else 0.0


@contextmanager
def ways(folder: Path) -> Iterator[Mapping[str, Way]]:
    """Yields the ways by name; their proxies end with the block. `folder` takes the files that they need."""
    prefix = seeing(folder, "bench", "127.0.0.1")
    with ExitStack() as stack:
        socks = stack.enter_context(socks_proxy(prefix=prefix))
        http = stack.enter_context(http_proxy(folder, prefix=prefix))
        yield {
            DIRECTLY: Way(prefix, {}),
            SOCKS: Way(prefix, {"SOCKS_PROXY": socks, "ONLY_SOCKS_PROXY": "1"}, _listening_at(socks)),
            HTTP: Way(prefix, {"HTTPS_PROXY": f"http://{http}"}, _listening_at(http)),
        }


def _listening_at(address: str) -> psutil.Process:
    port = int(address.rpartition(":")[2])
    connections = psutil.net_connections("tcp4")
    listening = (each for each in connections if each.status == psutil.CONN_LISTEN)
    return psutil.Process(next(each.pid for each in listening if each.laddr and each.laddr.port == port))
