"""Data that somebody handed us to upload, on the disk until the cloud has it.

It lies in `<capture_dir>/uploads/`, an ordinary arbitrary file whose folders tell its datasets and tags: should the
call not come to its end, the next sync delivers it, the builtin's too. Its name follows from its content, so who
asks a second time, not knowing how the first time ended, makes no second file while the first one waits. At most
`MAX_FILES` and `MAX_BYTES` are kept. Blocks: belongs on a worker thread.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator

from ...base.filesystem import EntryKind, FileSystem
from ...errors import BusyError, CommandError, StorageError, printable
from ...storage import layout
from ..delivery.calls import labels_in

MAX_FILES = 1_000
MAX_BYTES = 1024 * 1024 * 1024
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 3_000
_NEW = "upload"


def path_for(root: str, data: bytes, extension: str, tags: Iterable[str], dataset_ids: Iterable[str]) -> str:
    """Where data is kept in the capture folder `root`; CommandError where a tag or a dataset can't be a folder."""
    tags, dataset_ids = set(tags), set(dataset_ids)
    labels = [*(f"dataset={each}" for each in sorted(dataset_ids)), *(f"tag={each}" for each in sorted(tags))]
    folder = os.path.join(layout.UPLOADS_FOLDER, *labels)
    told = labels_in(folder)
    fits = (
        (set(told[0]), set(told[1])) == (tags, dataset_ids)
        and "\0" not in folder
        and all(len(os.fsencode(label)) <= _MAX_NAME_BYTES for label in labels)
        and len(os.fsencode(root)) + len(os.fsencode(folder)) <= _MAX_PATH_BYTES
    )
    if not fits:
        raise CommandError(
            "tags and dataset_ids must be strings without '/' and without blanks at their ends, none longer than "
            f"240 bytes, all together at most some 2,000: {sorted(tags)!r}, {sorted(dataset_ids)!r}"
        )
    return os.path.join(root, folder, hashlib.sha256(data).hexdigest()[:40] + extension)


def keep(files: FileSystem, root: str, path: str, data: bytes, most_bytes: int | None) -> None:
    """Makes `path` hold `data`, whole or not at all. Raises StorageError, and BusyError beyond the bounds."""
    if files.exists(path) and files.stat(path).st_size == len(data):
        return
    most_bytes = min(MAX_BYTES, most_bytes or MAX_BYTES)
    count = total = 0
    for size_bytes in _sizes(files, os.path.join(root, layout.UPLOADS_FOLDER)):
        count, total = count + 1, total + size_bytes
        if count >= MAX_FILES or total + len(data) > most_bytes:
            raise BusyError(
                f"{count} uploads with {total} bytes wait for the cloud already in {printable(root)}/"
                f"{layout.UPLOADS_FOLDER}: this one is not kept, try it again later"
            )
    new = layout.state_path(root, f"{_NEW}-{os.path.basename(path)}")
    files.make_folder(os.path.dirname(new))
    files.replace(new, data)
    files.make_folder(os.path.dirname(path))
    files.rename(new, path)


def remove_unfinished(files: FileSystem, root: str) -> None:
    """Removes what a crash left of `keep`."""
    try:
        for entry in files.list_folder(os.path.join(root, layout.STATE_FOLDER)):
            if entry.name.startswith(f"{_NEW}-"):
                files.remove(entry.path)
    except StorageError as error:
        if error.reason != "no_such_file":
            raise


def _sizes(files: FileSystem, folder: str) -> Iterator[int]:
    try:
        for entry in files.list_folder(folder):
            if entry.kind is EntryKind.FOLDER:
                yield from _sizes(files, entry.path)
            elif entry.kind is EntryKind.FILE:
                yield files.stat(entry.path).st_size
    except StorageError as error:
        if error.reason != "no_such_file":
            raise
