"""`At`: an open folder and a name in it, for operations that no other process can lead elsewhere."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, TypeVar

from ..errors import StorageError
from . import openat

FILE_MODE = 0o600


class Identity(NamedTuple):
    """Which file it is, whatever its name: a file keeps it when it is renamed, and no two have the same."""

    device: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        return cls(status.st_dev, status.st_ino)


def replaced() -> OSError:
    """Returns the error for a name that does not lead to the file any more that was opened or found under it."""
    return OSError(errno.ESTALE, "another file has its name by now")


Context = TypeVar("Context", bound="Translated")


class Translated:
    """A context that turns OSError into StorageError. It is a class, since that takes a third of the time of a
    generator-based context, and each file passes about ten of these."""

    __slots__ = ("_action", "path")

    def __init__(self, action: str, path: str) -> None:
        self._action = action
        self.path = path

    def __enter__(self: Context) -> Context:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise StorageError(self._action, self.path, error) from error


class At(Translated):
    """A context in which the folder of a path is open, so that nobody can exchange it; also turns OSError into
    StorageError."""

    __slots__ = ("folder", "name")

    def __enter__(self: Context) -> Context:
        folder, name = os.path.split(self.path)
        self.name = name or os.curdir
        try:
            openat.demand_no_nul(name)
            self.folder = openat.open_folder(folder)
        except OSError as error:
            raise StorageError(self._action, self.path, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.folder)
        super().__exit__(kind, error, trace)

    def open(self, flags: int = os.O_RDONLY) -> int:
        """Opens the file, or what it leads to by the rule of links."""
        return openat.open_file(self.folder, self.name, self.path, flags)

    def open_own(self, flags: int = os.O_RDONLY) -> int:
        """Opens the file if it is this user's alone; see `openat.open_own_file`."""
        return openat.open_own_file(self.folder, self.name, flags)

    def create(self, flags: int = os.O_WRONLY) -> int:
        """Makes the file and opens it. Raises FileExistsError when there is anything of that name."""
        flags |= os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.name, flags, FILE_MODE, dir_fd=self.folder)

    def create_anew(self, flags: int = os.O_WRONLY) -> int:
        """Does the same after the removal of what has that name, such as what a crash left."""
        with suppress(FileNotFoundError):
            os.unlink(self.name, dir_fd=self.folder)
        return self.create(flags)

    def own_status(self) -> os.stat_result:
        """Returns the status of what has the name itself, be it a link."""
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)

    def status(self) -> os.stat_result:
        """Returns the status of the file, or of what it leads to by the rule of links."""
        return openat.status_of(self.folder, self.name, self.path)

    def demand(self, identity: Identity | None) -> None:
        """Raises OSError unless the name leads to the file with this identity; None stands for any."""
        if identity is not None and Identity.of(self.status()) != identity:
            raise replaced()
