"""What this process can see of the viam-server that started it: its process, its folder, its environment, its
config.

viam-server starts a module in the module's own folder and with an environment that the module's config may change.
So what viam-server itself has is read from its process. Where the system does not show that (another user's
process, a process with capabilities, another system than Linux), it stays unknown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

_ADDRESS = "VIAM_MODULE_ADDRESS"
"""viam-server sets it for every module, to another value for each start."""
_SWITCHES = frozenset(
    {
        "allow-insecure-creds", "debug", "version", "webprofile", "webrtc", "reveal-sensitive-config-diffs",
        "untrusted-env", "output-telemetry", "disable-mdns", "ftdc", "no-tls", "network-check",
    }
)  # fmt: skip
"""The flags of viam-server that take no value of their own (RDK's web/server/entrypoint.go)."""
_CONFIG = "config"


@dataclass(frozen=True)
class ViamServer:
    """viam-server's process, as far as it can be seen."""

    working_folder: str = ""
    """Absolute; empty when it is not known."""
    environment: Mapping[str, str] | None = None
    """The environment with which it was started; None when it is not known."""
    arguments: Sequence[str] = field(default=())
    """Its command line, without the program; empty when it is not known."""
    started_ns: int | None = None
    """When it was started, in Unix time; None when it is not known."""

    @property
    def config_file(self) -> str:
        """The file that its command line names as the machine's config, absolute; empty when it is not known."""
        written = _value_of(_CONFIG, self.arguments)
        path = os.path.join(self.working_folder, written) if written else ""
        return os.path.normpath(path) if os.path.isabs(path) else ""


def find_viam_server() -> ViamServer:
    """Looks at the process. Never raises. Blocks on the disk."""
    pid, environment, arguments, started_ns = _pid(), None, [], None
    with suppress(OSError):
        entries = (each.partition("=") for each in _texts(pid, "environ"))
        environment = {name: value for name, separator, value in entries if separator}
    with suppress(OSError):
        arguments = _texts(pid, "cmdline")[1:]
    with suppress(psutil.Error, OSError):
        started_ns = round(psutil.Process(pid).create_time() * 1e9)
    return ViamServer(_working_folder(pid), environment, arguments, started_ns)


def _pid() -> int:
    """Returns the process id of viam-server: of the first process above this one that is not the module's own.

    A module that is started by a script may have several processes, all with the address that viam-server gave it.
    """
    pid = os.getppid()
    with suppress(OSError):
        mark = f"{_ADDRESS}={os.environ[_ADDRESS]}" if _ADDRESS in os.environ else None
        while mark is not None and mark in _texts(pid, "environ"):
            pid = int(_read(pid, "stat").rpartition(b")")[2].split()[1])
    return pid


def _working_folder(pid: int) -> str:
    """Returns the working folder of a process; empty when the system does not show it, or when it was deleted."""
    try:
        folder = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""
    return folder if os.path.isabs(folder) and os.path.isdir(folder) else ""


def _texts(pid: int, name: str) -> list[str]:
    """Returns the texts in a file of a process that ends each with a NUL."""
    return [os.fsdecode(each) for each in _read(pid, name).removesuffix(b"\0").split(b"\0")]


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def _value_of(flag: str, arguments: Sequence[str]) -> str:
    """Returns the last value of a flag, by the rules of Go's package flag; empty when there is none.

    A flag has one dash or two, and its value follows after `=` or as the next argument. The first argument that is
    no flag ends them.
    """
    value, rest = "", list(arguments)
    while rest:
        argument = rest.pop(0)
        if len(argument) < 2 or argument[0] != "-" or argument == "--":
            break
        name, is_set, given = argument[2 if argument.startswith("--") else 1 :].partition("=")
        if not is_set and name not in _SWITCHES and rest:
            given = rest.pop(0)
        if name == flag:
            value = given
    return value
