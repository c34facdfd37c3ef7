"""Puts many small tabular files into few calls.

Each file is read and verified whole, and its readings go, undecoded, into a call with those of other files with the
same metadata and UTC day. A file that does not fit this is left to be sent alone: one that is large, binary, of two
days, damaged in its header, or partly sent already.

Blocks: belongs on a worker thread. Bundles hold the bytes of their calls in memory; the caller bounds these by what
it hands in, `calls.MAX_CALL_BYTES` and `retries.MAX_FILES_PER_CALL`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from viam.proto.app.datasync import DataCaptureMetadata, DataType

from ...base.filesystem import FileSystem
from ...errors import DamagedFileError, StorageError
from ...storage.capture_files.reader import CaptureReader
from .calls import MAX_CALL_BYTES, CallBuilder, UnaryCall, day_of
from .settlement import Scanned, Settlement

_FRAMING_BYTES = 4
"""The most that a tag and a length add to a reading that fits into a call."""


class Member(NamedTuple):
    """A file of which all readings are in one call."""

    settlement: Settlement
    scanned: Scanned


@dataclass(frozen=True)
class Bundle:
    """A call, and the files in it, in the order of their readings."""

    call: UnaryCall
    members: Sequence[Member]

    def halves(self) -> tuple[Bundle, Bundle]:
        """Returns two bundles, each with half of the files."""
        middle = len(self.members) // 2
        left, right = self.members[:middle], self.members[middle:]
        first, second = self.call.split(sum(member.scanned.readings for member in left))
        return Bundle(first, left), Bundle(second, right)


class _FillingBundle:
    """A bundle that is being filled with files of the same metadata."""

    def __init__(self, captured: DataCaptureMetadata, part_id: str) -> None:
        self._builder = CallBuilder(captured, part_id)
        self.members: list[Member] = []

    def takes(self, size_bytes: int, day: int) -> bool:
        return self._builder.takes(size_bytes, day)

    def add(self, member: Member, readings: Sequence[bytes]) -> None:
        self._builder.add_all(readings)
        self.members.append(member)

    def take_bundle(self) -> Bundle:
        members, self.members = self.members, []
        return Bundle(self._builder.take_call(), members)


def bundle(
    files: FileSystem, settlements: Sequence[Settlement], part_id: str
) -> tuple[list[Bundle], list[Settlement]]:
    """Returns the calls for these files, and the files that are to be sent alone.

    A file that can't be read is one of these. Blocks.
    """
    bundles: list[Bundle] = []
    alone: list[Settlement] = []
    filling: dict[bytes, _FillingBundle] = {}
    for settlement in settlements:
        taken = None if settlement.acknowledged else _read(files, settlement)
        if taken is None:
            alone.append(settlement)
            continue
        captured, readings, member = taken
        key = captured.SerializeToString(deterministic=True)
        target = filling.get(key)
        if target is None:
            target = filling[key] = _FillingBundle(captured, part_id)
        size_bytes = sum(map(len, readings)) + _FRAMING_BYTES * len(readings)
        if not target.takes(size_bytes, day_of(readings[0])):
            bundles.append(target.take_bundle())
        target.add(member, readings)
    bundles += [target.take_bundle() for target in filling.values() if target.members]
    return bundles, alone


def _read(files: FileSystem, settlement: Settlement) -> tuple[DataCaptureMetadata, list[bytes], Member] | None:
    try:
        reader = CaptureReader(files, settlement.found.path)
    except (DamagedFileError, StorageError):
        return None
    try:
        if reader.metadata.type != DataType.DATA_TYPE_TABULAR_SENSOR or reader.size_bytes > MAX_CALL_BYTES:
            return None
        readings = list(reader)
    except StorageError:
        return None
    finally:
        reader.close()
    if not readings or day_of(readings[0]) != day_of(readings[-1]):
        return None
    return reader.metadata, readings, Member(settlement, Scanned.of(reader))
