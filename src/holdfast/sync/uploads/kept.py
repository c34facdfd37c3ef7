"""Data that a user handed over for upload, kept on disk until the cloud has it.

It is an arbitrary file in `<capture_dir>/uploads/`, and the names of its folders are its datasets and tags. If the
upload does not succeed, a later sync delivers the file; so would the builtin's sync. The file's name is a hash of
its content. A caller that repeats an upload, because it does not know how the first one ended, makes no second file
while the first one waits.

Blocks on the disk; runs on a worker thread. Bounds: `MAX_FILES` and `MAX_BYTES` in each capture folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from ...base.filesystem import EntryKind, FileSystem
from ...base.words import shown
from ...errors import BusyError, CommandError, StorageError
from ...storage import layout
from ..delivery.calls import labels_in

MAX_LABELS = 100
MAX_FILES = 1_000
MAX_BYTES = 1024 * 1024 * 1024
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 3_000
_NEW = "upload"


def path_for(root: str, data: bytes, extension: str, tags: Iterable[str], dataset_ids: Iterable[str]) -> str:
    """Returns the path at which data is kept in the capture folder `root`.

    Raises CommandError if there is no data, or a tag or dataset id can't be the name of a folder.
    """
    if not data:
        raise CommandError("there is no data to upload")
    tags, dataset_ids = set(tags), set(dataset_ids)
    labels = [*(f"dataset={each}" for each in sorted(dataset_ids)), *(f"tag={each}" for each in sorted(tags))]
    folder = os.path.join(layout.UPLOADS_FOLDER, *labels)
    read_back = labels_in(folder)
    fits = (
        len(labels) <= MAX_LABELS
        and (set(read_back[0]), set(read_back[1])) == (tags, dataset_ids)
        and "\0" not in folder
        and all(len(os.fsencode(label)) <= _MAX_NAME_BYTES for label in labels)
        and len(os.fsencode(root)) + len(os.fsencode(folder)) <= _MAX_PATH_BYTES
    )
    if not fits:
        raise CommandError(
            "tags and dataset_ids must be strings without '/' and without blanks at their ends, each of at most "
            f"240 bytes, all together at most {MAX_LABELS} and about 2,000 bytes: {shown(sorted(tags))}, "
            f"{shown(sorted(dataset_ids))}"
        )
    return os.path.join(root, folder, hashlib.sha256(data).hexdigest()[:40] + extension)


def keep(files: FileSystem, root: str, path: str, data: bytes, most_bytes: int | None) -> None:
    """Writes `data` to `path`, whole or not at all; does nothing if it is there already.

    `most_bytes` is the limit of the capture folder, None for no limit. Raises StorageError, and BusyError if the
    data does not fit into the bounds.
    """
    if files.exists(path) and files.stat(path).st_size == len(data):
        return
    most_bytes = min(MAX_BYTES, most_bytes or MAX_BYTES)
    count = total = 0
    for size_bytes in _sizes(files, os.path.join(root, layout.UPLOADS_FOLDER)):
        count, total = count + 1, total + size_bytes
        if count >= MAX_FILES or total + len(data) > most_bytes:
            raise BusyError(
                f"{count} uploads with {total} bytes already wait for the cloud in {root}/"
                f"{layout.UPLOADS_FOLDER}: this one is not kept; try again later"
            )
    new = layout.state_path(root, f"{_NEW}-{os.path.basename(path)}")
    files.make_private_folder(os.path.dirname(new))
    files.replace(new, data)
    files.make_folder(os.path.dirname(path))
    files.rename(new, path)


def remove_unfinished(files: FileSystem, root: str) -> None:
    """Removes the temporary files that `keep` left when the process died in it. Raises StorageError."""
    try:
        for entry in files.list_folder(os.path.join(root, layout.STATE_FOLDER)):
            if entry.name.startswith(f"{_NEW}-"):
                files.remove(entry.path)
    except StorageError as error:
        if error.reason != "no_such_file":
            raise


def _sizes(files: FileSystem, folder: str) -> Iterator[int]:
    """Yields the sizes of the files in `folder`, and removes folders that hold none: those of labels whose data was
    delivered."""
    is_empty = True
    try:
        for entry in files.list_folder(folder):
            if entry.kind is EntryKind.FOLDER:
                for size_bytes in _sizes(files, entry.path):
                    is_empty = False
                    yield size_bytes
            elif entry.kind is EntryKind.FILE:
                is_empty = False
                yield files.stat(entry.path).st_size
    except StorageError as error:
        if error.reason != "no_such_file":
            raise
    if is_empty:
        with suppress(StorageError):
            files.remove_folder(folder)
