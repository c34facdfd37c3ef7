"""`find_host` finds what the paths in a config depend on: the environment, and viam-server's working folder.

viam-server starts the module in the module's own folder, so its working folder is known only from the process
itself. Where the system does not show that (another user's process, a process with capabilities, another system
than Linux), it stays unknown. Call it when the process starts: it reads a few files.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress

from holdfast.config import Host

_ADDRESS = "VIAM_MODULE_ADDRESS"
"""viam-server sets it for every module, to another value for each start."""
_VERSION = r"-\d+_\d+_\d+[^/]*"
_PACKAGE = re.compile(rf"(?P<packages>.*/data/module)/(?P<name>[^/]+?){_VERSION}(?P<inside>/.*)?")
"""Where viam-server unpacks a module: `<packages>/data/module/<name>-<version>`."""


def find_host() -> Host:
    """Returns the host of this process. Never raises. Blocks on the disk."""
    own = ""
    with suppress(OSError):  # it was deleted
        own = os.getcwd()
    module_folders = _module_folders(own) if own else ()
    return Host.of(os.environ, _working_folder(_viam_server()), module_folders, _code_folders())


def _code_folders() -> tuple[str, ...]:
    """Returns the folders with the module's code: all of an unpacked archive, some of a checkout."""
    if getattr(sys, "frozen", False):
        return (os.path.dirname(os.path.dirname(os.path.realpath(sys.executable))),)
    checkout = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    return tuple(os.path.join(checkout, name) for name in ("module", "src"))


def _viam_server() -> int:
    """Returns the process id of viam-server: of the first process above this one that is not the module's own.

    A module that is started by a script may have several processes, all with the address that viam-server gave it.
    """
    pid = os.getppid()
    with suppress(OSError):
        mark = f"{_ADDRESS}={os.environ[_ADDRESS]}" if _ADDRESS in os.environ else None
        while mark is not None and os.fsencode(mark) in _read(pid, "environ").split(b"\0"):
            pid = int(_read(pid, "stat").rpartition(b")")[2].split()[1])
    return pid


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def _working_folder(pid: int) -> str:
    """Returns the working folder of a process; empty when the system does not show it, or when it was deleted."""
    try:
        folder = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""
    return folder if os.path.isabs(folder) and os.path.isdir(folder) else ""


def _module_folders(own: str) -> tuple[str, ...]:
    """Returns the module's working folder, and what that was in each other version that is still unpacked.

    viam-server removes those after an update, but only when the new version runs.
    """
    package = _PACKAGE.fullmatch(own)
    if package is None:
        return (own,)
    packages, inside = package["packages"], package["inside"] or ""
    is_version = re.compile(re.escape(package["name"]) + _VERSION).fullmatch
    try:
        found = sorted(name for name in os.listdir(packages) if is_version(name))
    except OSError:
        return (own,)
    others = (f"{packages}/{name}{inside}" for name in found)
    return (own, *(folder for folder in others if folder != own and os.path.isdir(folder)))
