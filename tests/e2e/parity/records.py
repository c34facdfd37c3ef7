"""What a data manager wrote, as texts that are equal where the readings are.

Decoded with Viam's messages and nothing of ours. A text holds all that a reading has but its time: names, presence,
kinds and values of all fields, the header of its file, the shape of the file's name and its permissions.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from viam.proto.app.datasync import DataCaptureMetadata, SensorData

from ..machines import frames_in
from .rows import Compared

_SOON_NS = 60 * 10**9
_SHOWN_BYTES = 200
_DECIMALS = 9

Plain = Any
"""Dictionaries, lists, strings, numbers and None: what a message says."""


@dataclass(frozen=True)
class Part:
    """One `SensorData` and the file it lies in."""

    file: str
    mode: int
    in_file: int
    """How many there are in the file."""
    header: DataCaptureMetadata
    data: SensorData

    @property
    def params(self) -> Mapping[str, Any]:
        """The header's method parameters as a config has them."""
        return {key: _json_of(each) for key, each in self.header.method_parameters.items()}

    @property
    def requested_ns(self) -> int:
        return _nanoseconds(self.data.metadata.time_requested)

    def told(self) -> Plain:
        """All but its times."""
        about = plain(self.data.metadata)
        received_ns = _nanoseconds(self.data.metadata.time_received)
        if self.requested_ns <= received_ns <= self.requested_ns + _SOON_NS:
            about["time_received"] = "soon after the request"
        about["time_requested"] = "then" if self.requested_ns else "never"
        file: dict[str, Plain] = {"name": re.sub(r"\d", "0", self.file), "mode": oct(self.mode)}
        if self.data.HasField("binary"):
            file["payloads"] = self.in_file
        return {"file": file, "header": plain(self.header), "metadata": about, "payload": payload_of(self.data)}


@dataclass(frozen=True, repr=False)
class Captured:
    """All that one data manager wrote, by folder below the capture folder."""

    folder: Path
    parts: Mapping[str, tuple[Part, ...]]
    log: str
    until_ns: int
    """Readings requested later are left out."""

    def readings(self, folder: str, params: Mapping[str, Any], compared: Compared) -> set[str]:
        """The different readings of a folder that were captured with these parameters.

        What was asked for at the same time is one reading, however many files it has.
        """
        wanted = json.loads(json.dumps(params))
        together: dict[int, list[Part]] = {}
        for part in self.parts.get(folder, ()):
            if part.params == wanted and part.requested_ns < self.until_ns:
                together.setdefault(part.requested_ns, []).append(part)
        return {readable([part.told() for part in parts], compared) for parts in together.values()}

    def log_of(self, name: str, lines: int = 4) -> str:
        """The last lines of the log that name a resource."""
        word = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
        return "\n".join([line[:600] for line in self.log.splitlines() if word.search(line)][-lines:])


def captured(folder: Path, log: str, until_ns: int) -> Captured:
    """Reads a capture folder. Our own state in it is left out."""
    parts: dict[str, list[Part]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        where = path.parent.relative_to(folder)
        if ".holdfast" not in where.parts:
            parts.setdefault(where.as_posix(), []).extend(_parts(path))
    return Captured(folder, {where: tuple(each) for where, each in parts.items()}, log, until_ns)


def _parts(path: Path) -> Iterable[Part]:
    header, *frames = frames_in(path.read_bytes()) or [b""]
    about, mode = DataCaptureMetadata.FromString(header), path.stat().st_mode & 0o777
    return [Part(path.name, mode, len(frames), about, SensorData.FromString(frame)) for frame in frames]


def _nanoseconds(time: Timestamp) -> int:
    return int(time.seconds * 10**9 + time.nanos)


def _json_of(packed: AnyMessage) -> Plain:
    value = Value()
    assert packed.Unpack(value), packed.type_url
    return plain(value)


def plain(message: Message) -> Plain:
    """The fields that are set. A value in which nothing is set is not None but `unset`; times are nanoseconds."""
    if isinstance(message, Struct):
        return {key: plain(each) for key, each in message.fields.items()}
    if isinstance(message, ListValue):
        return [plain(each) for each in message.values]
    if isinstance(message, Value):
        kind = message.WhichOneof("kind")
        if kind is None:
            return {"unset": "unset"}
        inner = getattr(message, kind)
        return None if kind == "null_value" else plain(inner) if isinstance(inner, Message) else inner
    if isinstance(message, Timestamp):
        return _nanoseconds(message)
    if isinstance(message, AnyMessage):
        return {"type_url": message.type_url, "value": _json_of(message)}
    return {field.name: _field(value) for field, value in message.ListFields()}


def _field(value: Any) -> Plain:
    if isinstance(value, Message):
        return plain(value)
    if isinstance(value, (str, bytes, int, float)):
        return value
    if isinstance(value, Mapping):
        return {key: _field(each) for key, each in value.items()}
    return [_field(each) for each in value]


def without(texts: Iterable[str], keys: Sequence[str]) -> set[str]:
    """The readings without one thing that each of their parts has."""
    shorter = set()
    for text in texts:
        parts = json.loads(text)
        for part in parts:
            for key in keys[:-1]:
                part = part[key]
            del part[keys[-1]]
        shorter.add(json.dumps(parts, sort_keys=True))
    return shorter


def payload_of(data: SensorData) -> Plain:
    return data.binary if data.HasField("binary") else plain(data.struct)


def readable(whole: Plain, compared: Compared = Compared.EXACT) -> str:
    """Python's `json` writes floats so that they can be told apart to the last bit, -0.0 and NaN too."""

    def told(value: Plain) -> Plain:
        if isinstance(value, dict):
            return {key: told(each) for key, each in value.items()}
        if isinstance(value, list):
            return [told(each) for each in value]
        if isinstance(value, bytes):
            shown = repr(value[:_SHOWN_BYTES])
            return f"{len(value)} bytes, SHA-256 {hashlib.sha256(value).hexdigest()}: {shown}"
        if isinstance(value, float):
            if compared is Compared.SHAPE:
                return "a number"
            # Adding 0 makes a zero of what is rounded to minus zero.
            return round(value, _DECIMALS) + 0.0 if compared is Compared.NOISE else value
        return value

    return json.dumps(told(whole), indent=1, sort_keys=True, ensure_ascii=False)
