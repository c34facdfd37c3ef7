"""The layout of a capture folder: where files lie, and what a file's name says about it.

The names are RDK's (data/capture_file.go, sync/sync.go), so that the builtin data manager finds what we leave and
we find what it leaves. Only `.holdfast/` is our own. All files in there end in `.prog`, which the builtin leaves
alone; it would upload and delete others.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from enum import Enum

from ..base.filesystem import NEW_EXTENSION

IN_PROGRESS_EXTENSION = ".prog"
CAPTURE_EXTENSION = ".capture"
STATE_FOLDER = ".holdfast"
FAILED_FOLDER = "failed"
DATASET_FOLDER = "datasetUpload"
SEQUENCES_FOLDER = "sequences"
UPLOADS_FOLDER = "uploads"
"""Data that a user gave us to upload, until it is delivered. Its tags and datasets are folders `tag=…` and
`dataset=…`, as in any sync path, so that the builtin delivers it as well."""
OPEN_SEQUENCE_EXTENSION = ".progseq"
ENDED_SEQUENCE_EXTENSION = ".seq"

SKIPPED_FOLDERS = frozenset({STATE_FOLDER, FAILED_FOLDER, DATASET_FOLDER})
"""Folders that the walk does not enter, at any depth."""

_MAX_FOLDER_NAME_BYTES = 255


class FileKind(Enum):
    """What a file under a sync path is, judged by its name alone."""

    CAPTURE = "capture"
    """A complete capture file. Sync sends it at once."""
    IN_PROGRESS = "in_progress"
    """A capture file that is being written, or that a crash left. Sync never sends it; recovery completes it."""
    SEQUENCE = "sequence"
    """Any other file in a folder named `sequences`, such as an open sequence. Sync never sends it."""
    ENDED_SEQUENCE = "ended_sequence"
    """A sequence that has ended. Sync sends it by a call of its own, after the data."""
    ARBITRARY = "arbitrary"
    """Any other file. Sync sends it when it has not been changed for a while."""


def kind_of(path: str) -> FileKind:
    """Returns the kind of the file at `path`, without a look at the disk."""
    if path.endswith(CAPTURE_EXTENSION):
        return FileKind.CAPTURE
    if path.endswith(IN_PROGRESS_EXTENSION):  # like Go's Ext, for which a file named ".prog" has this extension
        return FileKind.IN_PROGRESS
    if os.path.basename(os.path.dirname(path)) == SEQUENCES_FOLDER:
        return FileKind.ENDED_SEQUENCE if path.endswith(ENDED_SEQUENCE_EXTENSION) else FileKind.SEQUENCE
    return FileKind.ARBITRARY


def collector_folder(capture_dir: str, api: str, resource: str, method: str) -> str:
    """Returns the folder of one collector's files: `<capture_dir>/<api>/<resource>/<method>`, `:` and `/`
    replaced.

    A name that is too long for a folder ends in a part of its hash, so that no two collectors share one.
    """
    parts = (part.replace(":", "_").replace("/", "_") for part in (api, resource, method))
    return os.path.join(capture_dir, *map(_folder_name, parts))


def _folder_name(name: str) -> str:
    content = os.fsencode(name)
    if len(content) <= _MAX_FOLDER_NAME_BYTES:
        return name
    end = f"~{hashlib.sha256(content).hexdigest()[:12]}"
    return content[: _MAX_FOLDER_NAME_BYTES - len(end)].decode("utf-8", "ignore") + end


def capture_file_stem(time_ns: int) -> str:
    """Returns a capture file's name without its extension: local time to the microsecond, as RDK writes it."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds).astimezone().replace(microsecond=nanoseconds // 1000)
    offset = moment.isoformat(timespec="microseconds")
    return offset.replace("+00:00", "Z").replace(":", "_")


def capture_file_time_ns(path: str) -> int | None:
    """Returns the time in a capture file's name, in ns since the epoch, or None if there is none."""
    stem = os.path.basename(path).partition(".")
    fraction = stem[2].partition(".")[0]
    try:
        moment = datetime.fromisoformat(f"{stem[0]}.{fraction}".replace("_", ":").replace("Z", "+00:00"))
    except ValueError:
        return None
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def in_progress_path(path: str) -> str:
    """Returns where the capture file that will be at `path` lies until it is complete."""
    return os.path.splitext(path)[0] + IN_PROGRESS_EXTENSION


def failed_path(path: str, capture_dir: str) -> str:
    """Returns where the file at `path` goes when it can't be delivered.

    A file in the capture folder goes to `<capture_dir>/failed/` and keeps its path below it. Any other file goes to
    `failed/` beside it, as with the builtin, since its folder may be on another file system.
    """
    relative = os.path.relpath(path, capture_dir)
    if relative == os.pardir or relative.startswith(os.pardir + os.sep):
        folder, name = os.path.split(path)
        return os.path.join(folder, FAILED_FOLDER, name)
    return os.path.join(capture_dir, FAILED_FOLDER, relative)


CAUSE_EXTENSION = ".cause.json"


def cause_path(failed: str) -> str:
    """Returns the path of the sidecar, which says why a file is in quarantine."""
    return failed + CAUSE_EXTENSION


def rewritten_path(failed: str) -> str:
    """Returns the path of what is about to replace a file in quarantine."""
    return failed + NEW_EXTENSION


def state_path(capture_dir: str, name: str) -> str:
    """Returns the path of a file of our state: `<capture_dir>/.holdfast/<name>.prog`."""
    return os.path.join(capture_dir, STATE_FOLDER, name + IN_PROGRESS_EXTENSION)
