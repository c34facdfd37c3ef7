"""What another user may have put under a name that the module uses, of every kind; and what is seen through it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from .neighbour import UID
from .place import Place

Plant = Callable[[Place, Path], None]
"""Puts something at a path. Root does it, in the neighbour's name, so that it can lie anywhere."""


def a_link_to_a_file_of_root(place: Place, path: Path) -> None:
    _link(place.etc / "shared.txt", path)


def a_link_to_a_private_file_of_root(place: Place, path: Path) -> None:
    _link(place.key, path)


def a_link_to_nothing_yet(place: Place, path: Path) -> None:
    _link(place.etc / "new.conf", path)


def a_link_to_a_folder_of_root(place: Place, path: Path) -> None:
    _link(place.etc, path)


def a_link_to_a_folder_of_a_third_user(place: Place, path: Path) -> None:
    _link(place.third, path)


def a_link_to_no_folder_yet(place: Place, path: Path) -> None:
    _link(place.etc / "new.d", path)


def a_pipe(place: Place, path: Path) -> None:
    os.mkfifo(path)
    os.chown(path, UID, UID)


def a_socket(place: Place, path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o666)
    os.chown(path, UID, UID)


def a_device(place: Place, path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))


def a_folder(place: Place, path: Path) -> None:
    path.mkdir()
    os.chown(path, UID, UID)


def a_folder_with_a_file(place: Place, path: Path) -> None:
    a_folder(place, path)
    (path / "file").write_bytes(b"the neighbour's")


def a_file(place: Place, path: Path) -> None:
    path.write_bytes(b"the neighbour's")
    os.chown(path, UID, UID)


def an_empty_file(place: Place, path: Path) -> None:
    """Unlike one with content, it is not synced itself."""
    path.touch()
    os.chown(path, UID, UID)


def a_second_name_of_a_file_of_root(place: Place, path: Path) -> None:
    os.link(place.etc / "shared.txt", path)


FOR_A_FILE = [
    a_link_to_a_file_of_root,
    a_link_to_a_private_file_of_root,
    a_link_to_nothing_yet,
    a_pipe,
    a_socket,
    a_device,
    a_folder,
    a_folder_with_a_file,
    a_file,
    a_second_name_of_a_file_of_root,
]
"""Where the module has a file."""

FOR_A_FOLDER = [
    a_link_to_a_folder_of_root,
    a_link_to_a_folder_of_a_third_user,
    a_link_to_no_folder_yet,
    a_link_to_a_file_of_root,
    a_pipe,
    a_socket,
    a_device,
    an_empty_file,
]
"""Where the module has a folder."""


def name_of(plant: object) -> str:
    """The name of a test's case."""
    return getattr(plant, "__name__", str(plant)).replace("_", " ").strip()


def _link(target: Path, path: Path) -> None:
    path.symlink_to(target)
    os.lchown(path, UID, UID)
