"""A capture file that is being written: `.prog` until it is complete, `.capture` from then on.

Belongs to the disk thread, and for `complete` to the thread of `Completion`: nothing here may be called on the
event loop.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Sequence

from ...base.filesystem import Buffer, FileSystem
from ...errors import StorageError
from .. import layout, names

_NAME_TRIES = 1000


class CaptureFile:
    """A file that holds whole frames only. What a failed write left is cut off again; if the disk refuses that too,
    the end of the file stays torn, and it takes no more frames.

    `readings` counts the readings that the file holds.
    """

    def __init__(self, files: FileSystem, path: str, descriptor: int, header_frame: bytes) -> None:
        self._files = files
        self._descriptor: int | None = descriptor
        self.path = path
        self.final_path = ""
        """The path of the complete file; empty until then."""
        self.size_bytes = 0
        self.readings = 0
        self._torn = False
        self._write([header_frame])

    @classmethod
    def create(cls, files: FileSystem, folder: str, time_ns: int, header_frame: bytes) -> CaptureFile:
        """Creates a file in `folder`, named for `time_ns` or the next free microsecond. Raises StorageError."""
        files.make_folder(folder)
        for attempt in range(_NAME_TRIES):
            stem = os.path.join(folder, layout.capture_file_stem(time_ns + attempt * 1000))
            if files.exists(stem + layout.CAPTURE_EXTENSION):
                continue
            path = stem + layout.IN_PROGRESS_EXTENSION
            try:
                descriptor = files.create(path)
            except StorageError as error:
                if error.reason != "exists" or attempt == _NAME_TRIES - 1:
                    raise
                continue
            try:
                return cls(files, path, descriptor, header_frame)
            except Exception:
                files.close(descriptor, path)
                files.remove(path)
                raise
        raise StorageError("create", folder, FileExistsError(errno.EEXIST, "every name for this moment is taken"))

    def append(self, frames: list[bytes]) -> None:
        """Hands `frames` to the operating system in one write.

        Raises StorageError; `readings` then includes those of them that the file holds all the same, which it does
        only when its end is torn.
        """
        if self._torn:
            raise StorageError("write", self.path, OSError(errno.EIO, "its end is torn by an earlier failure"))
        try:
            self._write([b"".join(frames)])
        except Exception:
            if self._torn:
                self.readings += self._whole_frames(frames)
            raise
        self.readings += len(frames)

    def append_whole(self, parts: Sequence[Buffer]) -> None:
        """Hands one frame to the operating system part by part, without copying it. Raises StorageError."""
        self._write(parts)
        self.readings += 1

    def complete(self) -> str | None:
        """Closes the file, gives it its final name and returns that; removes an empty file and returns None.

        Raises StorageError; it may be called again then.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._files.close(descriptor, self.path)
        if self.readings == 0:
            self._files.remove(self.path)
            return None
        final = final_name(self._files, self.path)
        self._files.rename(self.path, final)
        self.final_path = final
        return final

    def _write(self, parts: Sequence[Buffer]) -> None:
        assert self._descriptor is not None, "written after complete()"
        try:
            for part in parts:
                self._files.write(self._descriptor, self.path, part)
        except Exception:
            try:
                self._files.truncate(self.path, self.size_bytes)
            except Exception:  # noqa: BLE001 - the first error is raised
                self._torn = True
            raise
        self.size_bytes += sum(map(len, parts))

    def _whole_frames(self, frames: list[bytes]) -> int:
        """Returns how many of `frames` are whole in the file after a failed write."""
        assert self._descriptor is not None
        try:
            room = self._files.size(self._descriptor, self.path) - self.size_bytes
        except StorageError:
            return 0
        ends = itertools.accumulate(map(len, frames))
        return sum(1 for end in ends if end <= room)


def final_name(files: FileSystem, path: str) -> str:
    """Returns the final name for the file in progress at `path`: its own name, or if another file has got that in
    the meantime, that of the next free microsecond or, where the name is no time, with a number. Only one thread
    gives final names, so the name stays free."""
    stem = os.path.splitext(path)[0]
    time_ns = layout.capture_file_time_ns(path)
    if time_ns is None:
        most_chars = max(names.SHORT_NAME_CHARS, len(os.path.basename(path)))
        return names.free_name(stem + layout.CAPTURE_EXTENSION, files.exists, most_chars)
    while files.exists(stem + layout.CAPTURE_EXTENSION):
        time_ns += 1000
        stem = os.path.join(os.path.dirname(path), layout.capture_file_stem(time_ns))
    return stem + layout.CAPTURE_EXTENSION
