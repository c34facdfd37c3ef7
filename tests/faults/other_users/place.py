"""`Place` is a computer's disk as root and its neighbour share it: whose folders lie where, and what is in them."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .neighbour import THIRD_UID, UID, Neighbour

SECRET = b"-----BEGIN PRIVATE KEY-----"


@dataclass
class Place:
    """The folders. `etc` and all that is in it are root's, `home` the neighbour's, `third` a third user's."""

    base: Path
    neighbour: Neighbour

    @property
    def etc(self) -> Path:
        """A folder of root that anybody may read; in it is the file `shared.txt`, whose name others use too."""
        return self.base / "etc"

    @property
    def key(self) -> Path:
        """A file that only root may read."""
        return self.base / "etc" / "ssl" / "key.pem"

    @property
    def home(self) -> Path:
        """The neighbour's home."""
        return self.base / "home"

    @property
    def logs(self) -> Path:
        """A folder in the neighbour's home, which is synced."""
        return self.home / "logs"

    @property
    def third(self) -> Path:
        """A folder that only a third user may read; in it is `diary.txt`."""
        return self.base / "third"

    def untouchable(self) -> dict[str, object]:
        """Returns all that is not the neighbour's as it is now: what an attack must not change."""
        return {**_state(self.etc), **_state(self.third)}


@contextmanager
def a_place(neighbour: Neighbour) -> Iterator[Place]:
    """Makes the folders. They lie where the neighbour may pass, unlike what pytest makes."""
    base = Path(tempfile.mkdtemp(prefix="holdfast-place-"))
    base.chmod(0o755)
    place = Place(base, neighbour)
    try:
        (place.etc / "ssl").mkdir(parents=True)
        (place.etc / "ssl").chmod(0o700)
        place.key.write_bytes(SECRET)
        place.key.chmod(0o600)
        (place.etc / "shared.txt").write_bytes(b"root's")
        (place.etc / "logs").mkdir()
        (place.etc / "logs" / "app.txt").write_bytes(b"root's own log")
        place.home.mkdir()
        os.chown(place.home, UID, UID)
        place.third.mkdir(mode=0o700)
        (place.third / "diary.txt").write_bytes(b"dear diary")
        for path in (place.third, place.third / "diary.txt"):
            os.chown(path, THIRD_UID, THIRD_UID)
        make_old(place.etc, place.third)
        neighbour.folder(place.logs)
        yield place
    finally:
        remove_pipes(base)
        shutil.rmtree(base)


def make_old(*folders: Path) -> None:
    """Lets all files in these folders look as if nobody had touched them for long, so that sync would take them."""
    for folder in folders:
        for path in folder.rglob("*"):
            os.utime(path, (1, 1))


def remove_pipes(folder: Path) -> None:
    """Removes the pipes in this folder, and ends what waits for their other end, so that no test waits for ever."""
    for path in folder.rglob("*"):
        if stat.S_ISFIFO(path.lstat().st_mode):
            descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
            path.unlink()
            os.close(descriptor)


def _state(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else sorted(os.listdir(path))
        found[str(path)] = (status.st_ino, oct(status.st_mode), status.st_uid, status.st_mtime_ns, content)
    return found
