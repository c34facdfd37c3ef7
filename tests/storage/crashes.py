"""What a crash leaves, and a pass of recovery over it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from holdfast.errors import StorageError
from holdfast.filesystem import FileSystem
from holdfast.storage.ledger import Ledger
from holdfast.storage.recovery import Recovered, Recovery
from tests.fakes import START_NS, FakeClock

STEM = "2023-11-14T22_13_20.123456Z"


def leave(path: Path, data: bytes, age_s: float = 60.0) -> Path:
    """A file that a crash left, `age_s` ago on the FakeClock's wall time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    written_ns = START_NS - round(age_s * 1e9)
    os.utime(path, ns=(written_ns, written_ns))
    return path


def run(
    tmp_path: Path,
    ledger: Ledger,
    files: FileSystem | None = None,
    is_ours: Callable[[str], bool] = lambda path: False,
) -> Recovered:
    recovery = Recovery(files or FileSystem(), FakeClock(), ledger, str(tmp_path), is_ours)
    for left in recovery:
        with suppress(StorageError):
            left.complete()
    return recovery.result
