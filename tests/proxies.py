"""Real proxies for tests: microsocks (SOCKS5) and tinyproxy (HTTP CONNECT), each on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port

_START_TIMEOUT_S = 10.0


@contextmanager
def socks_proxy(user: str = "", password: str = "", *, prefix: Sequence[str] = ()) -> Iterator[str]:
    """Yields `host:port` of a SOCKS5 proxy that runs meanwhile. `prefix` is a command that runs the proxy."""
    port = free_port()
    login = ["-u", user, "-P", password] if user else []
    with _running([*prefix, _found("microsocks"), "-i", "127.0.0.1", "-p", str(port), *login], port):
        yield f"127.0.0.1:{port}"


@contextmanager
def http_proxy(folder: Path, user: str = "", password: str = "", *, prefix: Sequence[str] = ()) -> Iterator[str]:
    """As `socks_proxy`, for an HTTP proxy, which notes each request in `folder`/proxy.log."""
    port = free_port()
    login = f"BasicAuth {user} {password}" if user else ""
    config = folder / "tinyproxy.conf"
    lines = (f"Port {port}", "Listen 127.0.0.1", f'LogFile "{folder}/proxy.log"', "LogLevel Connect", login)
    config.write_text("\n".join(lines) + "\n")
    with _running([*prefix, _found("tinyproxy"), "-d", "-c", str(config)], port):
        yield f"127.0.0.1:{port}"


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        reason = f"{program} is missing (apt-get install {program})"
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, f"{command[0]} does not start"
                time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()
