"""What somebody names to be sent, checked: paths that must lie under the sync paths, resources by their folders.

Blocks: belongs on a worker thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from ..base.filesystem import EntryKind, FileSystem, is_in
from ..errors import CommandError, StorageError
from ..storage import layout
from .manual import Selection


def select(
    files: FileSystem, paths: Iterable[str], resources: Iterable[str], stores: Sequence[str], others: Sequence[str]
) -> Selection:
    """What `paths` and `resources` name together; `stores` are the capture folders, `others` further sync paths.

    CommandError names what can't be sent, and what can.
    """
    roots = [os.path.realpath(root) for root in (*stores, *others)]
    folders: list[str] = []
    single: list[str] = []
    for path in paths:
        real = os.path.realpath(path)
        why = _why_not(files, path, real, roots)
        if why:
            raise CommandError(f"paths: {path!r} {why}")
        (folders if os.path.isdir(real) else single).append(real)
    for resource in resources:
        folders += folders_of(files, resource, roots[: len(stores)])
    alone = [path for path in dict.fromkeys(single) if not any(is_in(path, folder) for folder in folders)]
    return Selection(tuple(folders), tuple(alone))


def _why_not(files: FileSystem, path: str, real: str, roots: Sequence[str]) -> str:
    root = next((root for root in roots if is_in(real, root)), None)
    if not os.path.isabs(path) or root is None:
        return f"is not under a sync path; these are: {', '.join(roots)}"
    own = set(os.path.relpath(real, root).split(os.sep)) & layout.SKIPPED_FOLDERS
    if own:
        return f"lies in {own.pop()}/, which is never synced"
    return "" if files.exists(real) else "is not there"


def folders_of(files: FileSystem, resource: str, roots: Iterable[str]) -> Iterator[str]:
    """The folders with the captured files of a resource, of whatever API."""
    for root in roots:
        try:
            for entry in files.list_folder(root):
                if entry.kind is EntryKind.FOLDER and entry.name not in layout.SKIPPED_FOLDERS:
                    folder = os.path.dirname(layout.collector_folder(root, entry.name, resource, "method"))
                    if files.exists(folder):
                        yield folder
        except StorageError as error:
            if error.reason != "no_such_file":
                raise
