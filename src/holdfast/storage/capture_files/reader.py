"""Reads capture files back: ours and the builtin's, whole, torn or damaged, of any size.

A file is read one window at a time, so memory does not grow with it. Invariants:

- A frame whose check does not match is never returned as a reading.
- If the header has a check, every frame has one. A header without a check is the builtin's; its frames can only be
  tested for being readings of the kind that the header names.
- Damage after the header never raises an error: the reader continues after it if it can, and reports the byte
  ranges.
- The search for good frames after damage ends, whatever a file was made to look like: after `MAX_DAMAGED` places,
  and when as much was read for it as `_MOST_PASSES` times the file. What is left of the file is damage then.

Blocks: belongs on a worker thread.
"""

from __future__ import annotations

import heapq
import itertools
import struct
import zlib
from collections.abc import Collection, Iterator

from google.protobuf.message import DecodeError
from viam.proto.app.datasync import DataCaptureMetadata, DataType

from ...base.at import Identity
from ...base.filesystem import FileSystem
from ...errors import DamagedFileError
from .frames import (
    CHECK_LAYOUT,
    CHECK_SIZE,
    CHECK_TAG,
    has_check,
    read_varint,
    seed_of,
    split_check,
    varint,
)
from .large_payload import LargePayload, large_payload_at
from .old_images import may_hold_old_images, old_images
from .shallow import kind_of
from .source import MAX_FRAME_BYTES, Source

LEAST_READING_BYTES = 3
"""No file has more readings than its size divided by this, and one: no frame and nothing like a check is shorter,
and there is at most one stretch of damage more than there are frames."""
MAX_HEADER_BYTES = 256 * 1024
MAX_NAME_CHARS = 1024
"""The longest name of an API, a resource or a method in a header. The counts are kept by these."""
MAX_DAMAGED = 10_000
_MOST_PASSES = 8
_PASS_BYTES = 4 * 1024 * 1024
"""A smaller file counts as one of this size."""
_MOST_SEARCHED_HEADER_BYTES = 64 * 1024
_MOST_UNFINISHED_BYTES = 4096  # what the builtin's buffers hold
_KINDS = {DataType.DATA_TYPE_TABULAR_SENSOR: "struct", DataType.DATA_TYPE_BINARY_SENSOR: "binary"}


class CaptureReader:
    """One pass over a capture file. Iterating yields its readings: serialized `SensorData` without checks.

    The constructor opens the file, and raises DamagedFileError when the header is not good and StorageError when
    the disk fails; `close` must be called. These attributes are complete when the pass is over:

    - `damaged`: the byte ranges [from, to) without a good frame. `damaged_readings` estimates the readings in them.
    - `torn_bytes`: the size of the unfinished frame or the zeros that a crash left at the end, in which there is no
      whole reading.
    - `good_end`: the offset after the last good frame.
    """

    metadata: DataCaptureMetadata
    checked: bool
    """Whether Holdfast wrote the file."""

    def __init__(self, files: FileSystem, path: str) -> None:
        self._source = Source(files, path)
        self.readings = 0
        self.damaged: list[tuple[int, int]] = []
        self.damaged_readings = 0
        self.torn_bytes = 0
        self.torn_readings = 0
        """1 when the file ends with a reading that was begun and not finished, else 0."""
        self._longest_bytes = 0
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    @property
    def size_bytes(self) -> int:
        return self._source.size_bytes

    @property
    def identity(self) -> Identity:
        """Which file was opened, whatever has its name by now."""
        return self._source.identity

    def close(self) -> None:
        self._source.close()

    def __iter__(self) -> Iterator[bytes]:
        for run in self.runs():
            yield from run

    def runs(self) -> Iterator[list[bytes]]:
        """Yields the readings in runs that lie together in the file. After each run, `good_end` is the end of its
        last frame."""
        for run in self._runs():
            if not isinstance(run, LargePayload):
                yield run

    def contents(self, payload_bytes: int) -> Iterator[bytes | LargePayload]:
        """Yields the readings; a binary one with a payload of more than `payload_bytes` as a `LargePayload`."""
        for run in self._runs(payload_bytes if self.metadata.type == DataType.DATA_TYPE_BINARY_SENSOR else None):
            if isinstance(run, LargePayload):
                yield run
            else:
                yield from run

    def good_readings(self, start: int, end: int) -> int:
        """Returns how many good frames fill the range exactly; 0 when there is anything else in it."""
        readings = 0
        while start < end:
            message, next_start = self._source.frame_at(start)
            if self._good(message) is None:
                return 0
            readings, start = readings + 1, next_start
        return readings if start == end else 0

    def _runs(self, payload_bytes: int | None = None) -> Iterator[list[bytes] | LargePayload]:
        offset = self.good_end
        while offset < self.size_bytes:
            if payload_bytes is not None and (payload := self._payload(offset, payload_bytes)) is not None:
                self._took(1, payload.frame_end, payload.frame_end - offset)
                yield payload
                offset = payload.frame_end
                continue
            run = self._run_of_good_frames(offset)
            if run:
                yield run
            offset = self.good_end if run else offset
            message, end = self._source.frame_at(offset)
            reading = self._good(message)
            if reading is not None:  # a frame that is longer than the window
                self._took(1, end, end - offset)
                yield [reading]
                offset = end
            elif offset < self.size_bytes:
                resume = self._next_good_frame(offset, end) if self.checked and self._may_search else None
                if resume is None:
                    self._end_of_file(offset, end if message is not None else None)
                    return
                self._damage(offset, resume)
                offset = resume

    def _payload(self, offset: int, payload_bytes: int) -> LargePayload | None:
        """Returns the reading at `offset` if it is good and its payload is larger than `payload_bytes`, else
        None."""
        source = self._source
        seed = self._seed if self.checked else None
        payload = large_payload_at(source.files, source.path, source.identity, source.read, offset, seed)
        if payload is None or payload.size_bytes <= payload_bytes or payload.frame_end > self.size_bytes:
            return None
        return payload if payload.is_good(source.read) else None

    def _run_of_good_frames(self, offset: int) -> list[bytes]:
        """Returns the readings of the good frames from `offset` on that lie in one window."""
        window = self._source.window(offset)
        readings, end, longest = (
            _checked_frames(window, self._seed) if self.checked else _unchecked_frames(window, self.metadata)
        )
        self._took(len(readings), offset + end, longest)
        return readings

    def _took(self, readings: int, end: int, longest_bytes: int) -> None:
        if readings:
            self.readings += readings
            self.good_end = end
            self._longest_bytes = max(self._longest_bytes, longest_bytes)

    def _read_header(self) -> None:
        source = self._source
        message, end = source.frame_at(0, MAX_HEADER_BYTES)
        if not message:
            raise DamagedFileError("its header is missing, cut off or too long")
        body = split_check(message, 0)
        self.checked = body is not None
        if not self.checked and has_check(message):
            raise DamagedFileError("its header does not match its check")
        if not self.checked and self._lost_its_length():
            raise DamagedFileError("the length of its header is damaged")
        header = message if body is None else body
        try:
            self.metadata = DataCaptureMetadata.FromString(header)
        except DecodeError as error:
            raise DamagedFileError("its header is not readable") from error
        if not self.metadata.component_type and not self.metadata.method_name:
            raise DamagedFileError("its header names no resource and no method")
        names = (self.metadata.component_type, self.metadata.component_name, self.metadata.method_name)
        if max(map(len, names)) > MAX_NAME_CHARS:
            raise DamagedFileError(f"its header has a name of more than {MAX_NAME_CHARS} characters")
        if self.metadata.type not in _KINDS:
            raise DamagedFileError("its header does not say what kind of readings it holds")
        if not self.checked and self._begins_with_checks(end):
            raise DamagedFileError("its readings carry checks and its header has lost its own")
        self._seed = seed_of(header)
        self.header_end = self.good_end = end

    def _begins_with_checks(self, offset: int) -> bool:
        """Whether one of the first three readings has a check: it is unlikely that damage took all three."""
        for _ in range(3):
            message, offset = self._source.frame_at(offset)
            if has_check(message):
                return True
        return False

    def _lost_its_length(self) -> bool:
        """Whether the file begins with a header of ours whose length is wrong."""
        head = self._source.read(0, _MOST_SEARCHED_HEADER_BYTES)
        ends = itertools.islice(self._source.ends_of_checks(0, len(head)), 3)
        return any(split_check(head[start:end], 0) is not None for end in ends for start in (1, 2, 3))

    def _good(self, message: bytes | None) -> bytes | None:
        if not message:
            return None
        if self.checked:
            return split_check(message, self._seed)
        return message if _is_reading(message, self.metadata) else None

    def _next_good_frame(self, offset: int, claimed_end: int) -> int | None:
        """Returns where the next good frame begins after damage at `offset`; None when there is none. It is looked
        for at `claimed_end`, where the damaged frame claims to end, and after everything that looks like a check,
        since frames end with one."""
        source = self._source
        claimed = [claimed_end] if claimed_end > offset else []
        for start in heapq.merge(claimed, source.ends_of_checks(offset, self.size_bytes)):
            if source.has_good_check(start, self._seed):
                return start
            if not self._may_search:
                break
        return None

    @property
    def _may_search(self) -> bool:
        most_bytes = _MOST_PASSES * max(_PASS_BYTES, self.size_bytes)
        return len(self.damaged) < MAX_DAMAGED and self._source.searched_bytes < most_bytes

    def _damage(self, offset: int, end: int) -> None:
        self.damaged.append((offset, end))
        self.damaged_readings += max(1, self._source.count_checks(offset, end) if self.checked else 0)

    def _end_of_file(self, offset: int, frame_end: int | None) -> None:
        """Decides what the bytes after the last good frame are: zeros and an unfinished frame are torn, anything
        else is damage.

        A frame is unfinished when it is not all there (`frame_end` is None), or when there are zeros in place of
        its check.
        """
        end = self._source.content_end(offset)
        unfinished = frame_end is None or (self.checked and frame_end - end >= CHECK_SIZE)
        if end == offset or (unfinished and self._could_be_unfinished(offset, end)):
            self.torn_bytes = self.size_bytes - offset
            self.torn_readings = int(end > offset)
        else:
            self._damage(offset, self.size_bytes)

    def _could_be_unfinished(self, offset: int, end: int) -> bool:
        """Whether the last bytes can be a single frame that was being written. If they are several frames of which
        the first has lost its length, then ours contain a check, and the builtin's are long."""
        if self.checked:
            return next(iter(self._source.ends_of_checks(offset, end)), None) is None
        return end - offset <= max(_MOST_UNFINISHED_BYTES, 2 * self._longest_bytes)


def places_of(files: FileSystem, path: str, numbers: Collection[int]) -> list[tuple[int, int]]:
    """Returns the byte ranges [from, to) of the frames that hold the readings with these numbers, counted from
    0."""
    reader = CaptureReader(files, path)
    places = []
    first = 0
    try:
        for run in reader.runs():
            extra = CHECK_SIZE if reader.checked else 0
            sizes = [len(varint(len(reading) + extra)) + len(reading) + extra for reading in run]
            ends = list(itertools.accumulate(sizes, initial=reader.good_end - sum(sizes)))
            places += [(ends[n - first], ends[n - first + 1]) for n in numbers if first <= n < first + len(run)]
            first += len(run)
    finally:
        reader.close()
    return places


def is_blank(files: FileSystem, path: str) -> bool:
    """Whether a file is empty or holds nothing but zeros."""
    source = Source(files, path)
    try:
        return source.content_end(0) == 0
    finally:
        source.close()


def count_checks(files: FileSystem, path: str) -> int:
    """Returns an estimate of the readings in a file of ours whose header is damaged."""
    source = Source(files, path)
    try:
        return max(0, source.count_checks(0, source.size_bytes) - 1)
    finally:
        source.close()


def _checked_frames(window: bytes, seed: int) -> tuple[list[bytes], int, int]:
    """Returns the readings at the beginning of `window` whose checks match, the end of the last one, and the size
    of the longest frame.

    Every reading that is delivered passes through here, so it is written for speed.
    """
    readings: list[bytes] = []
    start = longest = 0
    take, check_of, tail_at = readings.append, zlib.crc32, CHECK_LAYOUT.unpack_from
    try:
        while True:
            size, begin = window[start], start + 1
            if size >= 0x80:
                high = window[begin]
                if high < 0x80:
                    size, begin = size + (high - 1 << 7), begin + 1
                else:
                    size, begin = read_varint(window, start)
                    if size > MAX_FRAME_BYTES:
                        break
            if size < CHECK_SIZE:
                break
            end = begin + size
            body = window[begin : end - CHECK_SIZE]
            if tail_at(window, end - CHECK_SIZE) != (CHECK_TAG, check_of(body, seed)):
                break
            take(body)
            if end - start > longest:
                longest = end - start
            start = end
    except (IndexError, ValueError, struct.error):  # the frame reaches beyond the window
        pass
    return readings, start, longest


def _unchecked_frames(window: bytes, header: DataCaptureMetadata) -> tuple[list[bytes], int, int]:
    """Returns what `_checked_frames` does, for a file without checks."""
    readings: list[bytes] = []
    start = longest = 0
    try:
        while True:
            size, begin = read_varint(window, start)
            end = begin + size
            if end > len(window):
                break
            reading = window[begin:end]
            if not _is_reading(reading, header):
                break
            readings.append(reading)
            longest = max(longest, end - start)
            start = end
    except (IndexError, ValueError):
        pass
    return readings, start, longest


def _is_reading(message: bytes, header: DataCaptureMetadata) -> bool:
    """Whether `message` is a reading that a file with this header holds, as far as can be known without a check."""
    kind = kind_of(message)
    if kind == "struct" and may_hold_old_images(header):
        return old_images(message) is not None
    return kind == _KINDS[header.type]
