"""`find_host` finds what the paths in a config depend on: the environment, and viam-server's working folder.

Call it when the process starts: it reads a few files.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress

from holdfast.config import Host

from .viam_server import ViamServer

_VERSION = r"-\d+_\d+_\d+[^/]*"
_PACKAGE = re.compile(rf"(?P<packages>.*/data/module)/(?P<name>[^/]+?){_VERSION}(?P<inside>/.*)?")
"""Where viam-server unpacks a module: `<packages>/data/module/<name>-<version>`."""


def find_host(viam_server: ViamServer) -> Host:
    """Returns the host of this process, which `viam_server` started. Never raises. Blocks on the disk."""
    own = ""
    with suppress(OSError):  # it was deleted
        own = os.getcwd()
    module_folders = _module_folders(own) if own else ()
    return Host.of(os.environ, viam_server.working_folder, module_folders, _code_folders())


def _code_folders() -> tuple[str, ...]:
    """Returns the folders with the module's code: all of an unpacked archive, some of a checkout."""
    if getattr(sys, "frozen", False):
        return (os.path.dirname(os.path.dirname(os.path.realpath(sys.executable))),)
    checkout = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    return tuple(os.path.join(checkout, name) for name in ("module", "src"))


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
