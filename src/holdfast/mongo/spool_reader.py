"""The reading end of a spool: gives readings in order, in batches, and remembers which are done.

Runs on the writer's thread, and blocks on the disk. `adopt` takes in what earlier lives left; it may only be called
when no other process uses the folder. How far the files are done is noted in `acknowledged.prog`, a text file whose
last complete line counts. After a crash between a batch and its line, the batch is given again, by the same names.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ..base import checked_line
from ..base.filesystem import EntryKind, FileSystem
from ..errors import DamagedFileError, NewerStateError, StorageError
from ..storage import layout
from . import records
from .records import FRAME, MAX_RECORD_BYTES, RecordReader, SpooledReading
from .segments import MAX_READINGS, Segment, Segments, place_of

_WINDOW_BYTES = 1024 * 1024
_HEADER_WINDOW_BYTES = 4096
_ALL = 1 << 62
_MAX_ACKNOWLEDGED_BYTES = 64 * 1024
DAMAGED = "damaged"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Readings of one file that are to be sent together."""

    readings: list[SpooledReading]
    segment: Segment
    end_bytes: int
    """Where the file is done up to when this batch is."""
    end_number: int
    """The number of the reading after its last one."""
    lost: Mapping[str, int]
    """How many readings up to `end_number` can't be read, by reason."""


class SpoolReader:
    """Gives the readings of a spool. One batch is out at a time: `next_batch`, then `finish`."""

    def __init__(self, files: FileSystem, folder: str, life: bytes, segments: Segments) -> None:
        self._files = files
        self._folder = folder
        self._life = life
        self._segments = segments
        self._open: Segment | None = None
        self._descriptor = -1
        self._records = RecordReader(life)
        self._acknowledged_path = os.path.join(folder, "acknowledged" + layout.IN_PROGRESS_EXTENSION)
        self._acknowledged: int | None = None
        self._acknowledged_bytes = 0

    def wait_for_more(self, timeout_s: float) -> None:
        """Blocks until there may be more readings, until `wake`, or for `timeout_s`."""
        with self._segments.changed:
            if self._nothing_new():
                self._segments.changed.wait(timeout_s)

    def wake(self) -> None:
        """Ends `wait_for_more`. May be called from any thread."""
        with self._segments.changed:
            self._segments.changed.notify_all()

    def next_batch(self, most_readings: int, most_bytes: int) -> Batch | None:
        """Returns the next readings, all of one file; None when there are none now.

        Removes files that are done. What can't be read of a file comes as a batch without readings, as lost.
        """
        while (segment := self._segments.hold_first()) is not None:
            if segment.read_bytes >= segment.end_bytes:
                if not segment.complete:
                    break
                if segment.waiting:  # its last records are damaged
                    return self._rest_of(segment, DAMAGED)
                self._remove(segment)
                continue
            try:
                return self._read(segment, most_readings, most_bytes)
            except StorageError as error:
                logger.error("%s; its readings are dropped for MongoDB and counted", error)
                return self._rest_of(segment, error.reason)
        self._segments.let_go()
        return None

    def finish(self, batch: Batch, refused: Mapping[str, int]) -> None:
        """Notes that a batch is done: all its readings are written, except those `refused`, by reason."""
        segment = batch.segment
        with self._segments.changed:
            counts = self._segments.counts
            counts.written += len(batch.readings) - sum(refused.values())
            for reasons in (refused, batch.lost):
                counts.dropped.update(reasons)
            segment.read_bytes, segment.done_number = batch.end_bytes, batch.end_number
            if batch.readings:
                segment.oldest_ns = batch.readings[-1].time_ns
        self._acknowledge(segment)
        if segment.complete and segment.read_bytes >= segment.end_bytes and not segment.waiting:
            self._remove(segment)
        self._segments.let_go()

    def close(self) -> None:
        """Removes the files that are done. Safe to call twice, but only after the writer's thread has ended."""
        while (segment := self._segments.hold_first()) is not None:
            if not segment.complete or segment.waiting:
                break
            self._remove(segment)
        self._close_file()
        descriptor, self._acknowledged = self._acknowledged, None
        if descriptor is not None:
            with suppress(StorageError):
                self._files.close(descriptor, self._acknowledged_path)

    def adopt(self) -> None:
        """Takes in what earlier lives left. Raises StorageError when the folder can't be read."""
        if not self._files.exists(self._folder):
            return
        done = self._read_acknowledged()
        own = f"-{self._life.hex()}"
        entries = [
            (place, entry.path)
            for entry in self._files.list_folder(self._folder)
            if (place := place_of(entry.name)) is not None
            and entry.kind is EntryKind.FILE
            and own not in entry.name
        ]
        found = [each for place, path in sorted(entries) if (each := self._look_at(place, path)) is not None]
        for segment, after in zip(found, [*found[1:], None], strict=False):
            follows = after is not None and after.header.life == segment.header.life
            first = segment.header.first
            follows = follows and after is not None and 0 <= after.header.first - first <= MAX_READINGS
            if after is not None and follows and after.place == segment.place + 1:
                segment.next_number = after.header.first
            else:
                segment.next_number = self._last_number(segment) + 1
            place, life, read_bytes, done_number = done
            if (segment.place, segment.header.life.hex()) == (place, life):
                self._continue_at(segment, read_bytes, done_number)
        self._segments.put_first(found)
        waiting = sum(segment.waiting for segment in found)
        if waiting:
            logger.info("%d readings for MongoDB were left by an earlier run and are sent now", waiting)

    def _look_at(self, place: int, path: str) -> Segment | None:
        """Returns the segment at `path`, as its header describes it.

        Returns None for one that can't be used: a file with a damaged header is removed, others stay.
        """
        try:
            size_bytes = self._files.stat(path).st_size
            descriptor = self._files.open_own(path)
            try:
                data = self._files.read_at(descriptor, path, 0, _HEADER_WINDOW_BYTES)
            finally:
                self._files.close(descriptor, path)
            header, start = records.decode_header(data, path)
        except NewerStateError as error:
            logger.error("%s; it is left as it is", error)
            return None
        except StorageError as error:
            logger.error("%s; its readings go to MongoDB after the next start at the earliest", error)
            return None
        except DamagedFileError as error:
            if any(data):
                logger.error("%s; it is removed, its readings do not go to MongoDB", error)
                with self._segments.changed:
                    self._segments.counts.dropped[DAMAGED] += 1
                    self._segments.counts.found += 1
            with suppress(StorageError):
                self._files.remove(path)
            return None
        first = header.first
        return Segment(path, place, header, start, size_bytes, start, first, first, header.time_ns, complete=True)

    def _continue_at(self, segment: Segment, read_bytes: int, done_number: int) -> None:
        """Notes how far a file is done, if that can be: readings before `done_number` are not given again.

        They are read again if `read_bytes` is not the end of a record.
        """
        if not 0 <= done_number - segment.header.first <= MAX_READINGS:
            return
        segment.done_number = done_number
        if read_bytes == segment.end_bytes or self._is_end_of_record(segment, read_bytes):
            segment.read_bytes = read_bytes

    def _is_end_of_record(self, segment: Segment, place: int) -> bool:
        offset: int | None = segment.header_bytes
        try:
            descriptor = self._files.open_own(segment.path)
            try:
                while offset is not None and offset < place <= segment.end_bytes:
                    end = records.record_end(self._files.read_at(descriptor, segment.path, offset, FRAME.size), 0)
                    offset = None if end is None else offset + end
            finally:
                self._files.close(descriptor, segment.path)
        except StorageError:
            return False
        return offset == place

    def _last_number(self, segment: Segment) -> int:
        """Returns the number of the last reading in a file that was open when its life ended."""
        first = segment.header.first
        reader, offset, last = RecordReader(segment.header.life), segment.read_bytes, first - 1
        try:
            descriptor = self._files.open_own(segment.path)
            try:
                while offset < segment.end_bytes:
                    readings, used = reader.read(self._window(descriptor, segment, offset, _WINDOW_BYTES), _ALL)
                    if not used:
                        break
                    offset += used
                    last = max([last, *(each.number for each in readings if each.number - first < MAX_READINGS)])
            finally:
                self._files.close(descriptor, segment.path)
        except StorageError as error:
            logger.error("%s; it is not known how many readings for MongoDB it holds", error)
        return last

    def _read(self, segment: Segment, most_readings: int, most_bytes: int) -> Batch:
        if self._open is not segment:
            self._close_file()
            self._descriptor = self._files.open_own(segment.path)
            self._open, self._records = segment, RecordReader(segment.header.life)
            self._pass_over(segment)
        data = self._window(self._descriptor, segment, segment.read_bytes, most_bytes)
        readings, used = self._records.read(data, most_readings)
        if not used:
            return self._rest_of(segment, DAMAGED)
        readings = _in_order(readings, segment)
        end_number = readings[-1].number + 1 if readings else segment.done_number
        lost = end_number - segment.done_number - len(readings)
        end_bytes = segment.read_bytes + used
        if segment.complete and end_bytes >= segment.end_bytes:
            lost, end_number = lost + max(0, segment.next_number - end_number), segment.next_number
        return Batch(readings, segment, end_bytes, end_number, {DAMAGED: lost} if lost > 0 else {})

    def _pass_over(self, segment: Segment) -> None:
        """Reads the part that is done already, because readings after it refer to the origins in it."""
        offset = segment.header_bytes
        while offset < segment.read_bytes:
            data = self._window(self._descriptor, segment, offset, segment.read_bytes - offset)
            _, used = self._records.read(data[: segment.read_bytes - offset], _ALL)
            if not used:
                return
            offset += used

    def _window(self, descriptor: int, segment: Segment, offset: int, size_bytes: int) -> bytes:
        """Returns `size_bytes` from `offset`, or more if the first record needs it; never beyond the file's end."""
        left = segment.end_bytes - offset
        data = self._files.read_at(descriptor, segment.path, offset, min(size_bytes, left))
        end = records.record_end(data, 0)
        if end is not None and len(data) < end <= min(left, FRAME.size + MAX_RECORD_BYTES):
            data = self._files.read_at(descriptor, segment.path, offset, end)
        return data

    def _rest_of(self, segment: Segment, reason: str) -> Batch:
        """Returns a batch without readings that gives up the rest of a file, because it can't be read."""
        with self._segments.changed:
            end_bytes, end_number = segment.end_bytes, segment.next_number
        lost = max(0, end_number - segment.done_number)
        return Batch([], segment, end_bytes, end_number, {reason: lost} if lost else {})

    def _nothing_new(self) -> bool:
        first = self._segments.first()
        return first is None or (first.read_bytes >= first.end_bytes and not first.complete)

    def _remove(self, segment: Segment) -> None:
        if self._open is segment:
            self._close_file()
        self._segments.remove(segment)
        try:
            self._files.remove(segment.path)
        except StorageError as error:
            logger.error("%s; it was sent to MongoDB, and is sent again at the next start, without effect", error)

    def _close_file(self) -> None:
        if self._open is not None:
            with suppress(StorageError):
                self._files.close(self._descriptor, self._open.path)
            self._open = None

    def _acknowledge(self, segment: Segment) -> None:
        """Notes on the disk how far a file is done. A failure only means that a crash repeats a batch."""
        text = b"%d %b %d %d" % (
            segment.place, segment.header.life.hex().encode(), segment.read_bytes, segment.done_number,
        )  # fmt: skip
        line = checked_line.encode(text)
        try:
            if self._acknowledged is None or self._acknowledged_bytes > _MAX_ACKNOWLEDGED_BYTES:
                self._begin_acknowledged(line)
                return
            self._files.write(self._acknowledged, self._acknowledged_path, line)
            self._acknowledged_bytes += len(line)
        except StorageError as error:
            logger.debug("%s; after a crash readings that MongoDB has are sent again, without effect", error)

    def _begin_acknowledged(self, line: bytes) -> None:
        descriptor, self._acknowledged = self._acknowledged, None
        if descriptor is not None:
            self._files.close(descriptor, self._acknowledged_path)
        self._files.replace(self._acknowledged_path, line)
        self._acknowledged = self._files.open_to_append(self._acknowledged_path)
        self._acknowledged_bytes = len(line)

    def _read_acknowledged(self) -> tuple[int, str, int, int]:
        """Returns the place and life of the file that was read last, and how far it is done (bytes, number)."""
        with suppress(StorageError):
            for line in reversed(self._files.read_own(self._acknowledged_path).splitlines()):
                fields = (checked_line.decode(line) or b"").split()
                if len(fields) == 4 and all(fields[place].isdigit() for place in (0, 2, 3)):
                    with suppress(ValueError):  # a number of thousands of digits
                        return int(fields[0]), fields[1].decode("ascii", "replace"), int(fields[2]), int(fields[3])
        return 0, "", 0, 0


def _in_order(readings: list[SpooledReading], segment: Segment) -> list[SpooledReading]:
    """Returns the readings whose numbers rise, and are those of readings in this file that are not done."""
    in_order, next_number = [], segment.done_number
    for reading in readings:
        if next_number <= reading.number < segment.next_number:
            in_order.append(reading)
            next_number = reading.number + 1
    return in_order
