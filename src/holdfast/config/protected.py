"""Folders that can't be meant as sync paths, since sync deletes what it delivered.

These are the folders of the system, homes, what viam-server and the module need to run, and the local copy. Most of
them may have sync paths inside: `/var/log` is protected, `/var/log/app` is not. Folders for data (`/mnt`, `/media`,
`/srv`) are not protected.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..base.filesystem import is_in

_SYSTEM = frozenset(
    (
        *("/", "/home", "/opt", "/run", "/tmp", "/usr/local", "/dev/shm"),
        *("/var", "/var/backups", "/var/cache", "/var/lib", "/var/log", "/var/opt", "/var/spool", "/var/tmp"),
    )
)
"""System folders that may have sync paths inside."""
_ALL_SYSTEM = frozenset(
    (
        *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run/systemd", "/sbin"),
        *("/snap", "/sys", "/usr", "/usr/local/bin", "/usr/local/etc", "/usr/local/lib", "/usr/local/sbin"),
        *("/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/var/log/journal"),
    )
)
"""System folders that may have none."""
_HOMES, _ROOTS_HOME = "/home", "/root"
_PACKAGES = ("packages", "packages-local")
"""The folders in VIAM_HOME with viam-server's modules."""


@dataclass(frozen=True)
class Protected:
    """The protected folders of one host. The paths are absolute; an empty one is none."""

    home: str = ""
    viam_home: str = ""
    code: tuple[str, ...] = ()
    """The folders with the module's own code."""
    local_copy: str = ""
    """The folder that keeps what was delivered: what is synced there would be kept and sent again without end."""

    def why(self, path: str) -> str:
        """Returns what the absolute `path` is, as in "a home folder", if it is protected; empty if it is not.

        Links are not followed: see `where_it_leads`.
        """
        if path in _SYSTEM or self._deepest_system(path) in _ALL_SYSTEM:
            return "a system folder" if path != os.sep else "the whole file system"
        if path in (self.home, _ROOTS_HOME) or os.path.dirname(path) == _HOMES:
            return "a home folder"
        if path == self.viam_home:
            return "viam-server's own folder"
        for folder, what in ((self.home, "the home folder"), (self.viam_home, "viam-server's own folder")):
            if folder and is_in(folder, path):
                return f"around {what} {folder}"
        if self.local_copy and (is_in(path, self.local_copy) or is_in(self.local_copy, path)):
            return f"in or around the local copy {self.local_copy}"
        for folder in self._with_programs:
            if is_in(path, folder) or is_in(folder, path):
                return f"in or around {folder}, which holds the programs of modules"
        return ""

    def where_it_leads(self, path: str) -> str:
        """Returns where `path` leads, links followed, and what that is, as in "/root, a home folder", if that is
        protected; empty if it is not. Blocks on the disk."""
        real = os.path.realpath(path)
        what = self._resolved().why(real) or self.why(real)
        return f"{real}, {what}" if what else ""

    def _resolved(self) -> Protected:
        real = os.path.realpath
        home, viam_home, local_copy = (
            real(folder) if folder else "" for folder in (self.home, self.viam_home, self.local_copy)
        )
        return Protected(home, viam_home, tuple(map(real, self.code)), local_copy)

    @property
    def _with_programs(self) -> tuple[str, ...]:
        packages = (os.path.join(self.viam_home, name) for name in _PACKAGES if self.viam_home)
        return (*self.code, *packages)

    def _deepest_system(self, path: str) -> str:
        """Returns the deepest system folder in which `path` lies."""
        while path not in _SYSTEM and path not in _ALL_SYSTEM:
            path = os.path.dirname(path)
        return path
