"""Where earlier versions kept data by mistake: a relative path led them into the module's own package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..base.filesystem import is_in
from .host import ConfiguredPath, Host
from .space import memory_dir

_CAPTURE_DIR = "capture_dir"
_COPY_DIR = "local_copy.dir"


class FormerFolder(NamedTuple):
    """A folder in which an earlier version may have kept data, and the one in which that belongs."""

    attribute: str
    former: str
    now: str
    is_capture_folder: bool = True
    """Whether captured data is in it; otherwise it is a local copy."""


def former_folders(host: Host, paths: Iterable[ConfiguredPath], capture_dir: str) -> tuple[FormerFolder, ...]:
    """Returns the former folders of the configured paths, whether they exist or not.

    `capture_dir` is the folder that holds now. A folder with the module's program in it is left out, and one that
    overlaps with a folder that is configured now.
    """
    folders = [each for each in paths if _is_ours(each.attribute)]
    if all(each.attribute != _CAPTURE_DIR for each in folders):
        folders.insert(0, ConfiguredPath(_CAPTURE_DIR, host.default_capture_dir, capture_dir))
    in_use = [capture_dir, *(each.path for each in folders if each.path)]

    def is_free(former: str) -> bool:
        if any(is_in(program, former) for program in host.module_folders):
            return False
        return not any(is_in(former, folder) or is_in(folder, former) for folder in in_use)

    found = (former for each in folders for former in _former(host, each, capture_dir))
    return tuple(each for each in found if is_free(each.former))


def _is_ours(attribute: str) -> bool:
    return attribute in (_CAPTURE_DIR, _COPY_DIR) or attribute.endswith(".capture_directory")


def _former(host: Host, configured: ConfiguredPath, capture_dir: str) -> Iterator[FormerFolder]:
    attribute, written, path = configured
    for former in host.former(written):
        if attribute != _COPY_DIR:
            yield FormerFolder(attribute, former, path or capture_dir)
        elif path:
            yield FormerFolder(attribute, former, path, is_capture_folder=False)
        if attribute == _CAPTURE_DIR:  # the folder in memory is named after the one on the disk
            yield FormerFolder(attribute, memory_dir(host, former), memory_dir(host, capture_dir))
