"""What the paths of a config mean depends on the host: on viam-server's environment and on its working folder.

The builtin data manager runs inside viam-server, so a relative path is relative to the folder in which viam-server
was started, and `~` is its HOME. A module has another working folder: its own package, which an update replaces.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .protected import Protected

_VIAM_FOLDER = ".viam"
_CAPTURE_FOLDER = "capture"


class UnknownPathError(Exception):
    """It can't be known which folder a path means. The message says why, as what follows the name of the path."""


class ConfiguredPath(NamedTuple):
    """A path in a config."""

    attribute: str
    """The full name of the attribute that has it."""
    written: str
    path: str
    """What it means, absolute; empty when that can't be known."""


@dataclass(frozen=True)
class Host:
    """The host as a process finds it when it starts. It does not change while the process runs."""

    home: str = ""
    """HOME; empty when viam-server runs without it."""
    viam_home: str = ""
    """VIAM_HOME. viam-server gives it to its modules; it is relative if viam-server has neither that nor HOME."""
    part_id: str = ""
    working_folder: str = ""
    """The folder in which viam-server was started, absolute; empty when that can't be known."""
    module_folders: tuple[str, ...] = ()
    """The module's own working folder, and those of earlier versions that are still on the disk."""
    code_folders: tuple[str, ...] = ()
    """The folders with the module's code."""

    @classmethod
    def of(
        cls,
        environment: Mapping[str, str],
        working_folder: str = "",
        module_folders: tuple[str, ...] = (),
        code_folders: tuple[str, ...] = (),
    ) -> Host:
        """Returns the host with what it needs of the module's `environment`."""
        return cls(
            environment.get("HOME", ""),
            environment.get("VIAM_HOME", ""),
            environment.get("VIAM_MACHINE_PART_ID", ""),
            working_folder,
            module_folders,
            code_folders,
        )

    @property
    def protected(self) -> Protected:
        """The folders that can't be meant as sync paths."""
        viam_home = os.path.join(self.working_folder, self.viam_home or os.path.join(self.home, _VIAM_FOLDER))
        home, viam_home = (_plain(path) if os.path.isabs(path) else "" for path in (self.home, viam_home))
        return Protected(home, viam_home, self.code_folders)

    @property
    def default_capture_dir(self) -> str:
        """The builtin's default for `capture_dir`, by the builtin's rules; relative if viam-server has no HOME."""
        return os.path.join(self.viam_home or os.path.join(self.home, _VIAM_FOLDER), _CAPTURE_FOLDER)

    def resolve(self, path: str) -> str:
        """Returns the absolute path that the builtin would use. Raises UnknownPathError."""
        if path.startswith("~") and not self.home:
            raise UnknownPathError("~ is the HOME of viam-server, which runs without HOME")
        expanded = self._expand(path)
        if not os.path.isabs(expanded) and not self.working_folder:
            raise UnknownPathError(
                "it is relative to the folder in which viam-server was started, and that is not known"
            )
        return _plain(os.path.join(self.working_folder, expanded))

    def former(self, path: str) -> Iterator[str]:
        """Yields where earlier versions looked for a relative path: in the module's own working folder."""
        expanded = self._expand(path)
        if not os.path.isabs(expanded):
            for folder in self.module_folders:
                yield _plain(os.path.join(folder, expanded))

    def _expand(self, path: str) -> str:
        return os.path.join(self.home, path[1:].lstrip("/")) if path.startswith("~") and self.home else path


def _plain(path: str) -> str:
    """Returns an absolute path without `..` and what else has no effect. Unlike `normpath`, it takes two slashes at
    the beginning for one, as the operating system does."""
    return os.path.normpath(os.sep + path.lstrip(os.sep))
