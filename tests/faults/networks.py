"""Two computers for the tests of networks that misbehave: a machine, and a cloud, which serves port 443 of all its
addresses. Each is a process in a network namespace of its own, and they are joined by cables (veth).

Only root can make them; `problem` says why it is not possible. With the processes, all is gone.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

NAME = "cloud.example"
_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 100.0
_BEGINNING = "beginning"
"""What a computer says when its namespace is there."""


def problem() -> str | None:
    """Returns why no network can be made here; None if it can."""
    if os.geteuid() != 0:
        return "only root may make networks"
    for tool in ("ip", "tc", "nft", "unshare", "nsenter"):
        if shutil.which(tool) is None:
            return f"there is no {tool} to make networks: apt-get install iproute2 nftables util-linux"
    cable = "ip link add name near type veth peer name far"
    script = f"{cable} && tc qdisc add dev near root tbf rate 1mbit burst 2k limit 9k"
    tried = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no network may be made here: {tried.stderr.strip()}"


class Computer:
    """A program in a network namespace of its own. What it prints is in `said`."""

    _process: asyncio.subprocess.Process
    _listening: asyncio.Task[None]

    def __init__(self) -> None:
        self.said: list[str] = []
        self._more = asyncio.Condition()
        self._ended = False

    async def begin(self, script: str, program: str, *arguments: str, **environment: str) -> None:
        """Runs a Python module of the tests after `script`, in the shell."""
        command = f'{script}; echo {_BEGINNING}; exec "$0" "$@"'
        self._process = await asyncio.create_subprocess_exec(
            *("unshare", "--net", "--mount", "sh", "-ec", command, sys.executable, "-m", program, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}", "GRPC_VERBOSITY": "NONE", **environment},
        )
        self._listening = asyncio.create_task(self._listen())
        await self.says(_BEGINNING)

    async def end(self) -> None:
        """Kills the program. Safe to call when it did not begin."""
        if not hasattr(self, "_process"):
            return
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._listening

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._more:
                self.said.append(line.decode().rstrip())
                self._more.notify_all()
        async with self._more:
            self._ended = True
            self._more.notify_all()

    async def says(self, pattern: str, after: int = 0) -> int:
        """Waits for a line of output, behind the first `after` ones, that contains the pattern. Returns how many
        lines there were up to it."""

        def found() -> int:
            lines = enumerate(self.said[after:], after + 1)
            return next((number for number, line in lines if re.search(pattern, line)), 0)

        async with self._more:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._more.wait_for(lambda: found() or self._ended), _PATIENCE_S)
        assert found(), f"not said: {pattern}\n" + "\n".join(self.said)
        return found()

    def tell(self, line: object) -> None:
        """Writes a line to the program's input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def run(self, command: str) -> None:
        """Runs a command line of the shell in the computer's network."""
        inside = ("nsenter", "--target", str(self._process.pid), "--net", "sh", "-ec", command)
        process = await asyncio.create_subprocess_exec(*inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = await process.communicate()
        assert process.returncode == 0, f"{command}: {output.decode()}"

    @property
    def pid(self) -> int:
        return self._process.pid


class Network:
    """The two computers. Cable number n is the interface `near<n>` of the machine, and `far<n>` of the cloud."""

    def __init__(self, folder: Path) -> None:
        self.machine = Computer()
        self.cloud = Computer()
        self._hosts = folder / "hosts"

    def name(self, *addresses: str) -> Path:
        """Makes these the addresses of the cloud's name, in this order. Returns the file where they stand."""
        self._hosts.write_text("".join(f"{address} {NAME}\n" for address in addresses))
        return self._hosts

    async def lay_cable(self, number: int, *networks: str) -> None:
        """Joins the computers in these networks, such as `10.1.0.`: 1 is the cloud, and 2 the machine."""
        near, far = f"near{number}", f"far{number}"
        peer = f"type veth peer name {far} netns {self.cloud.pid}"
        await self.machine.run(f"ip link set lo up; ip link add name {near} {peer}")
        for computer, interface, host in ((self.machine, near, 2), (self.cloud, far, 1)):
            for network in networks:
                addition = "/64 nodad" if ":" in network else "/24"
                await computer.run(f"ip addr add {network}{host}{addition} dev {interface}")
            await computer.run(f"ip link set {interface} up gso_max_segs 1")

    async def cut_silently(self, number: int, *addresses: str) -> None:
        """Makes what the machine sends to these addresses over the cable go to no computer."""
        for address in addresses:
            await self.machine.run(
                f"ip neigh replace {address} lladdr 02:00:00:00:00:01 dev near{number} nud permanent"
            )


@asynccontextmanager
async def network(
    folder: Path, cables: Sequence[Sequence[str]], *addresses: str, script: str = ":", **environment: str
) -> AsyncIterator[Network]:
    """Yields a network with these cables, each with its networks, where the cloud's name has `addresses`. The
    machine runs `script` first, in the shell, and has `environment` in its environment. Its link begins when it is
    told the cloud's address. In the end, nothing may have held up its event loop."""
    made = Network(folder)
    try:
        await made.cloud.begin("ip link set lo up", "tests.faults.far_cloud", str(folder / "cloud"))
        hosts = made.name(*addresses)
        mounted = f'mount --bind "{hosts}" /etc/hosts; {script}'
        await made.machine.begin(mounted, "tests.faults.near_machine", **environment)
        for number, networks in enumerate(cables):
            await made.lay_cable(number, *networks)
        await made.cloud.says("ready")
        yield made
        assert not [line for line in made.machine.said if "held up" in line]
    finally:
        for computer in (made.machine, made.cloud):
            await computer.end()
