"""The way to the cloud on the real viam-server: what the builtin data manager reaches, our module reaches.

Both get the same environment, the same names and the same cloud. The names stand in a hosts file, which the process
and its modules see in place of /etc/hosts, in a mount namespace of their own.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from demo.cloud import LocalCloud
from tests.hosts import HOST, seeing
from tests.ports import swallowing
from tests.proxies import http_proxy, socks_proxy

from .machines import CREDENTIALS, KEY, KEY_ID, MODULE, PART_ID, RUN, SERVICE, Servers, until

PASSWORD = "a-secret-of-the-proxy"
MODELS = {"builtin": "rdk:builtin:builtin", "holdfast": "holdfast:data-manager:durable"}
_ELSEWHERE = "127.0.0.9"
"""An address of this machine on which nothing listens."""

pytestmark = pytest.mark.usefixtures("needs_namespaces")


@dataclass
class Surroundings:
    """What a data manager finds: names, an environment, and what the status has to say of its way."""

    addresses: Sequence[str]
    way: str
    env: dict[str, str] = field(default_factory=dict)


@contextmanager
def dead_ipv6(folder: Path, port: int) -> Iterator[Surroundings]:
    with swallowing("::1", port):
        yield Surroundings(["::1", "127.0.0.1"], f"directly to 127.0.0.1:{port}")


@contextmanager
def only_by_socks(folder: Path, port: int) -> Iterator[Surroundings]:
    with socks_proxy(prefix=seeing(folder, "proxy", "127.0.0.1")) as proxy:
        env = {"SOCKS_PROXY": proxy, "HTTPS_PROXY": "http://127.0.0.1:1"}
        yield Surroundings([_ELSEWHERE], f"through the SOCKS5 proxy {proxy} (SOCKS_PROXY)", env)


@contextmanager
def only_socks_allowed(folder: Path, port: int) -> Iterator[Surroundings]:
    with socks_proxy(prefix=seeing(folder, "proxy", "127.0.0.1")) as proxy:
        env = {"SOCKS_PROXY": proxy, "ONLY_SOCKS_PROXY": "true"}
        yield Surroundings(["127.0.0.1"], f"through the SOCKS5 proxy {proxy} (SOCKS_PROXY)", env)


@contextmanager
def by_http_proxy(folder: Path, port: int) -> Iterator[Surroundings]:
    with http_proxy(folder, "user", PASSWORD, prefix=seeing(folder, "proxy", "127.0.0.1")) as proxy:
        env = {"https_proxy": f"http://user:{PASSWORD}@{proxy}"}
        yield Surroundings([_ELSEWHERE], f"through the HTTP proxy {proxy} (https_proxy)", env)
        assert f"CONNECT {HOST}:{port}" in (folder / "proxy.log").read_text()


@contextmanager
def no_proxy_for_the_cloud(folder: Path, port: int) -> Iterator[Surroundings]:
    env = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": f"other.example,.{HOST.partition('.')[2]}"}
    yield Surroundings(["127.0.0.1"], f"directly to 127.0.0.1:{port}", env)


WAYS = {
    "a dead IPv6 address": dead_ipv6,
    "SOCKS_PROXY and no direct way": only_by_socks,
    "ONLY_SOCKS_PROXY": only_socks_allowed,
    "https_proxy with a password": by_http_proxy,
    "NO_PROXY": no_proxy_for_the_cloud,
}


def config_of(manager: str, bind_address: str, cloud: str, folder: Path) -> Mapping[str, Any]:
    attributes: dict[str, Any] = {
        "capture_dir": str(folder / "captured"),
        "additional_sync_paths": [str(folder / "logs")],
        "sync_interval_mins": 0.01,
        "file_last_modified_millis": 100,
    }
    modules = []
    if manager == "holdfast":
        attributes |= {"cloud_address": cloud, "allow_plaintext": True}
        modules = [{"name": MODULE, "type": "local", "executable_path": str(RUN)}]
    service = {
        "name": SERVICE,
        "api": "rdk:service:data_manager",
        "model": MODELS[manager],
        "attributes": attributes,
    }
    return {"modules": modules, "services": [service], "network": {"bind_address": bind_address}}


@asynccontextmanager
async def synced(
    manager: str, viam_server: Servers, folder: Path, cloud: LocalCloud, surroundings: Surroundings
) -> AsyncIterator[Any]:
    """A viam-server in these surroundings, whose data manager delivers a file; yields the server."""
    port = cloud.address.rpartition(":")[2]
    address = f"{cloud.address.partition(':')[0]}://{HOST}:{port}"
    logs = folder / "logs"
    logs.mkdir()
    (logs / "a.log").write_text("a line\n")
    server = viam_server(manager, {**CREDENTIALS, **surroundings.env})
    server.prefix = seeing(folder, "viam-server", *surroundings.addresses)
    cloud.set_machine_config(config_of(manager, server.bind_address, address, folder))
    await server.start_connected(address, part_id=PART_ID)
    await until(lambda: cloud.files_count == 1 and not list(logs.iterdir()), "the file is delivered and deleted")
    yield server


@pytest.mark.parametrize("which", WAYS)
@pytest.mark.parametrize("manager", MODELS)
async def test_what_the_builtin_reaches_is_reached(
    viam_server: Servers, tmp_path: Path, manager: str, which: str
) -> None:
    cloud = LocalCloud(tmp_path / "cloud", part_id=PART_ID, api_keys={KEY_ID: KEY})
    await cloud.start()
    port = int(cloud.address.rpartition(":")[2])
    try:
        with WAYS[which](tmp_path, port) as surroundings:
            async with synced(manager, viam_server, tmp_path, cloud, surroundings) as server:
                if manager == "holdfast":
                    await server.wait_for_log(re.escape(f"connected to the cloud {surroundings.way}"))
                    assert PASSWORD not in server.log_text()
            await server.stop()
    finally:
        await cloud.stop()


@pytest.mark.parametrize(
    ("variable", "which"),
    [
        ("SSL_CERT_FILE", "a dead IPv6 address"),
        ("SSL_CERT_DIR", "NO_PROXY"),
        ("SSL_CERT_FILE", "SOCKS_PROXY and no direct way"),
        ("SSL_CERT_DIR", "https_proxy with a password"),
    ],
)
@pytest.mark.parametrize("manager", MODELS)
async def test_an_authority_that_the_builtin_trusts_is_trusted(
    viam_server: Servers, tmp_path: Path, manager: str, variable: str, which: str
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (tmp_path / "roots").mkdir()
    authority.cert_pem.write_to_path(str(tmp_path / "roots" / "own.pem"))
    named = tmp_path / "roots" / ("own.pem" if variable == "SSL_CERT_FILE" else "")
    tls = (chain, certificate.private_key_pem.bytes())
    cloud = LocalCloud(tmp_path / "cloud", part_id=PART_ID, api_keys={KEY_ID: KEY}, tls=tls)
    await cloud.start()
    try:
        with WAYS[which](tmp_path, int(cloud.address.rpartition(":")[2])) as surroundings:
            surroundings.env[variable] = str(named)
            async with synced(manager, viam_server, tmp_path, cloud, surroundings) as server:
                await server.stop()
    finally:
        await cloud.stop()
