"""Sync over real networks that misbehave, between two network namespaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from .networks import NAME, network

pytestmark = pytest.mark.usefixtures("needs_networks")

CLOUD = f"http://{NAME}:443"
TWO_CABLES = (["10.1.0."], ["10.2.0."])


async def test_when_the_better_way_swallows_everything_sync_goes_on_over_the_other(tmp_path: Path) -> None:
    async with network(tmp_path, TWO_CABLES, "10.1.0.1", "10.2.0.1") as net:
        net.machine.tell(CLOUD)
        await net.machine.says("connected to the cloud directly to 10.1.0.1:443")
        net.machine.tell("call 1000")
        await net.machine.says("uploaded 1")
        await net.cut_silently(0, "10.1.0.1")
        for _ in range(4):
            net.machine.tell("call 100000")
            net.machine.tell("stream 100000")
        await net.machine.says("connected to the cloud directly to 10.2.0.1:443")
        for unit in range(2, 10):
            await net.machine.says(f"uploaded {unit}$")


async def test_a_name_server_that_does_not_answer_is_said_and_holds_up_nothing(tmp_path: Path) -> None:
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 10.1.0.77\n")
    script = f'mount --bind "{resolver}" /etc/resolv.conf'
    async with network(tmp_path, [["10.1.0."]], script=script) as net:
        await net.cut_silently(0, "10.1.0.77")
        net.machine.tell(CLOUD)
        await net.machine.says(f"no connection: UNAVAILABLE: can't connect to {NAME}:443: no DNS server answers")
        net.name("10.1.0.1")
        await net.machine.says("connected to the cloud directly to 10.1.0.1:443")


async def test_what_is_too_large_for_the_way_is_told_and_another_way_is_taken(tmp_path: Path) -> None:
    async with network(tmp_path, TWO_CABLES, "10.1.0.1", "10.2.0.1") as net:
        rules = "table inet t { chain c { type filter hook input priority 0; iif far0 meta length > 1000 drop; }; }"
        await net.cloud.run(f"nft '{rules}'")
        net.machine.tell(CLOUD)
        await net.machine.says("connected to the cloud directly to 10.1.0.1:443")
        net.machine.tell("call 10")
        await net.machine.says("uploaded 1")
        net.machine.tell("call 100000")
        await net.machine.says("no connection: .*directly to 10.1.0.1:443 arrives, .*MTU")
        await net.machine.says("connected to the cloud directly to 10.2.0.1:443")
        await net.machine.says("uploaded 2")


async def test_an_interface_that_goes_down_and_comes_back_is_used_again(tmp_path: Path) -> None:
    async with network(tmp_path, [["10.1.0."]], "10.1.0.1") as net:
        net.machine.tell(CLOUD)
        await net.machine.says("connected")
        await net.machine.run("ip link set near0 down")
        net.machine.tell("call 100000")
        lines = await net.machine.says("no connection: .*unreachable")
        await net.machine.run("ip link set near0 up")
        await net.machine.says("connected", lines)
        await net.machine.says("uploaded 1")


async def test_a_name_that_gets_another_address_is_followed(tmp_path: Path) -> None:
    async with network(tmp_path, TWO_CABLES, "10.1.0.1") as net:
        net.machine.tell(CLOUD)
        await net.machine.says("connected to the cloud directly to 10.1.0.1:443")
        net.name("10.2.0.1")
        net.machine.tell("call 1000")
        await net.machine.says("uploaded 1")
        await net.cut_silently(0, "10.1.0.1")
        net.machine.tell("call 1000")
        await net.machine.says("connected to the cloud directly to 10.2.0.1:443")
        await net.machine.says("uploaded 2")


async def test_ipv6_alone_is_enough(tmp_path: Path) -> None:
    async with network(tmp_path, [["fd00:1::"]], "10.9.9.9", "fd00:1::1") as net:
        net.machine.tell(CLOUD)
        await net.machine.says(r"connected to the cloud directly to \[fd00:1::1\]:443")
        net.machine.tell("call 100000")
        await net.machine.says("uploaded 1")
