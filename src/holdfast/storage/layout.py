"""Names: where things lie in a capture folder, and what a file's name says of it.

The names are RDK's (data/capture_file.go, sync/sync.go), so that the builtin data manager finds what we leave and
we find what it leaves. Ours alone is `.holdfast/`; the builtin would upload and delete any other file, so
everything in there ends in `.prog`, which it leaves alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime
from enum import Enum

IN_PROGRESS_EXTENSION = ".prog"
CAPTURE_EXTENSION = ".capture"
STATE_FOLDER = ".holdfast"
FAILED_FOLDER = "failed"
DATASET_FOLDER = "datasetUpload"
SEQUENCES_FOLDER = "sequences"
UPLOADS_FOLDER = "uploads"
"""Data that somebody handed us to upload, until it is delivered. Its tags and datasets are folders `tag=…` and
`dataset=…`, as in any sync path, so that the builtin delivers it as well."""
OPEN_SEQUENCE_EXTENSION = ".progseq"
ENDED_SEQUENCE_EXTENSION = ".seq"

SKIPPED_FOLDERS = frozenset({STATE_FOLDER, FAILED_FOLDER, DATASET_FOLDER})
"""Folders into which the walk does not go, at any depth."""


_NUMBERED = re.compile(r"(.+)~\d+")


class FileKind(Enum):
    """What a file under a sync path is, by its name alone."""

    CAPTURE = "capture"
    """A complete capture file: captured data, sent at once."""
    IN_PROGRESS = "in_progress"
    """Being written, or left by a crash: never sent; recovery makes it complete."""
    SEQUENCE = "sequence"
    """Whatever else lies in a folder named `sequences`: the data manager's own, no user's file."""
    ENDED_SEQUENCE = "ended_sequence"
    """A sequence that has ended: sent by a call of its own, behind the data."""
    ARBITRARY = "arbitrary"
    """Any other file: sent when it has been left alone for a while."""


def kind_of(path: str) -> FileKind:
    if path.endswith(CAPTURE_EXTENSION):
        return FileKind.CAPTURE
    if path.endswith(IN_PROGRESS_EXTENSION):  # as to Go's Ext, to which a file named ".prog" is one too
        return FileKind.IN_PROGRESS
    if os.path.basename(os.path.dirname(path)) == SEQUENCES_FOLDER:
        return FileKind.ENDED_SEQUENCE if path.endswith(ENDED_SEQUENCE_EXTENSION) else FileKind.SEQUENCE
    return FileKind.ARBITRARY


def collector_folder(capture_dir: str, api: str, resource: str, method: str) -> str:
    """The folder of one collector's files: `<capture_dir>/<api>/<resource>/<method>`, `:` and `/` replaced."""
    parts = (part.replace(":", "_").replace("/", "_") for part in (api, resource, method))
    return os.path.join(capture_dir, *parts)


def capture_file_stem(time_ns: int) -> str:
    """A capture file's name without its extension: local time to the microsecond, as RDK writes it."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds).astimezone().replace(microsecond=nanoseconds // 1000)
    offset = moment.isoformat(timespec="microseconds")
    return offset.replace("+00:00", "Z").replace(":", "_")


def capture_file_time_ns(path: str) -> int | None:
    """The time in a capture file's name, in ns since the epoch; None when it has none."""
    stem = os.path.basename(path).partition(".")
    fraction = stem[2].partition(".")[0]
    try:
        moment = datetime.fromisoformat(f"{stem[0]}.{fraction}".replace("_", ":").replace("Z", "+00:00"))
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def in_progress_path(path: str) -> str:
    """Where the capture file that is to be at `path` lies until it is complete."""
    return os.path.splitext(path)[0] + IN_PROGRESS_EXTENSION


def failed_path(path: str, capture_dir: str) -> str:
    """Where `path` goes when it can't be delivered.

    Under the capture folder: `<capture_dir>/failed/` with the path kept below it. Elsewhere: `failed/` beside the
    file, as the builtin does for arbitrary files, since its folder may be on another file system.
    """
    relative = os.path.relpath(path, capture_dir)
    if relative == os.pardir or relative.startswith(os.pardir + os.sep):
        folder, name = os.path.split(path)
        return os.path.join(folder, FAILED_FOLDER, name)
    return os.path.join(capture_dir, FAILED_FOLDER, relative)


def free_name(path: str, is_taken: Callable[[str], bool], extension: str = "") -> str:
    """`path` with its `extension`, or the first of `path~2`, `path~3`, … with it that is not taken."""
    number, free = 1, path + extension
    while is_taken(free):
        number += 1
        free = f"{path}~{number}{extension}"
    return free


def without_number(name: str) -> str:
    """The name for which `free_name` found `name`, if it is one of these; else `name`."""
    numbered = _NUMBERED.fullmatch(name)
    return numbered[1] if numbered else name


CAUSE_EXTENSION = ".cause.json"
REWRITTEN_EXTENSION = ".new.prog"
"""Ends the name of what is to replace a file; `FileSystem.replace` uses the same."""


def cause_path(failed: str) -> str:
    """The sidecar that says why a file is in quarantine."""
    return failed + CAUSE_EXTENSION


def rewritten_path(failed: str) -> str:
    """What is about to replace a file in quarantine; a crash may leave it."""
    return failed + REWRITTEN_EXTENSION


def state_path(capture_dir: str, name: str) -> str:
    """A file of ours that is no data: `<capture_dir>/.holdfast/<name>.prog`."""
    return os.path.join(capture_dir, STATE_FOLDER, name + IN_PROGRESS_EXTENSION)
