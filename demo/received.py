"""`Received` keeps on disk what the local cloud receives, in a form that `wc`, `jq` and `diff` can read.

    readings/<component>/<method>.jsonl   one line per tabular reading
    binary/<component>/<method>/<time>    one file per binary payload, and a line in binary.jsonl
    files/<base name>                     one arbitrary file each, and a line in files.jsonl

Invariants:
- A payload or a file appears under its final name only when all of it is there. Until then it is in `.incoming`,
  which is emptied at the start.
- All readings of one call are appended with one write: a call is there as a whole or not at all.
- Nothing that was received is ever replaced: the second file of a name gets the suffix `~2`.
- Memory does not grow with the amount received.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from viam.proto.app.datasync import SensorData, SensorMetadata, UploadMetadata

# Doubles above this no longer hold every integer, so an integral value may as well stay a float.
MAX_EXACT_INTEGER = 2**53
# File systems allow names of 255 bytes; this leaves room for "~2".
MAX_NAME_BYTES = 240

_MIME_EXTENSIONS = {
    "image/jpeg": ".jpeg",
    "image/png": ".png",
    "pointcloud/pcd": ".pcd",
    "video/mp4": ".mp4",
    "audio/wav": ".wav",
}


class Received:
    """The folder of one local cloud. Thread: all calls must come from the cloud's event loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / ".incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._incoming.mkdir(mode=0o700)

    def add_tabular(self, metadata: UploadMetadata, readings: Iterable[SensorData]) -> None:
        """Appends the readings of one call to the file of their component and method."""
        rows = [
            {
                "time_requested": rfc3339(reading.metadata.time_requested),
                "time_received": rfc3339(reading.metadata.time_received),
                "data": struct_to_json(reading.struct),
                "tags": list(metadata.tags),
                "component_type": metadata.component_type,
                "part_id": metadata.part_id,
            }
            for reading in readings
        ]
        folder = self._folder / "readings" / safe_name(metadata.component_name)
        self._append(folder / f"{safe_name(metadata.method_name)}.jsonl", rows)

    def begin(self) -> IncomingFile:
        """Opens a file for the contents of one stream. The end of its `with` block deletes what was not added."""
        return IncomingFile(self._incoming / uuid.uuid4().hex)

    def add_payload(self, metadata: UploadMetadata, sensor: SensorMetadata, incoming: IncomingFile) -> Path:
        """Moves a complete binary payload to its place, and returns its path."""
        folder = self._folder / "binary" / safe_name(metadata.component_name)
        folder /= safe_name(metadata.method_name)
        time_requested = rfc3339(sensor.time_requested)
        extension = metadata.file_extension or _MIME_EXTENSIONS.get(metadata.mime_type, "")
        path = incoming.move_to(folder, safe_name(time_requested), safe_extension(extension))
        row = {
            **MessageToDict(metadata, preserving_proto_field_name=True),
            "time_requested": time_requested,
            "time_received": rfc3339(sensor.time_received),
            "annotations": MessageToDict(sensor.annotations, preserving_proto_field_name=True),
        }
        self._append(self._folder / "binary.jsonl", [row | self._stored(path, incoming)])
        return path

    def add_file(self, metadata: UploadMetadata, incoming: IncomingFile) -> Path:
        """Moves a complete arbitrary file to its place, and returns its path."""
        path = incoming.move_to(self._folder / "files", safe_name(Path(metadata.file_name).name))
        row = {
            "file_name": metadata.file_name,
            "file_extension": metadata.file_extension,
            "mime_type": metadata.mime_type,
            "part_id": metadata.part_id,
            "component_type": metadata.component_type,
            "component_name": metadata.component_name,
            "method_name": metadata.method_name,
            "tags": list(metadata.tags),
            "dataset_ids": list(metadata.dataset_ids),
            "create_time": rfc3339(metadata.file_create_time),
            "modify_time": rfc3339(metadata.file_modify_time),
        }
        self._append(self._folder / "files.jsonl", [row | self._stored(path, incoming)])
        return path

    def add_sequence(self, sequence: dict[str, Any]) -> None:
        """Appends one sequence definition to `sequences.jsonl`."""
        self._append(self._folder / "sequences.jsonl", [sequence])

    def _stored(self, path: Path, incoming: IncomingFile) -> dict[str, Any]:
        return {
            "size": incoming.size_bytes,
            "sha256": incoming.sha256(),
            "stored": path.relative_to(self._folder).as_posix(),
        }

    def _append(self, path: Path, rows: list[dict[str, Any]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One unbuffered write to a file opened for appending: the lines of a call are never there in part.
        with path.open("ab", buffering=0) as file:
            file.write("".join(f"{json.dumps(row)}\n" for row in rows).encode())


class IncomingFile:
    """The contents of one stream on their way to disk, with their size and hash.

    At the end of its `with` block it is deleted, unless it was moved.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self._file = path.open("xb")
        self.size_bytes = 0

    def __enter__(self) -> IncomingFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)

    def sha256(self) -> str:
        return self._hash.hexdigest()

    def move_to(self, folder: Path, stem: str, extension: str = "") -> Path:
        """Gives the file its final name: the first of `stem.ext`, `stem~2.ext`, … that is free."""
        self._file.close()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{stem}{extension}"
        count = 2
        while path.exists():
            path = folder / f"{stem}~{count}{extension}"
            count += 1
        self._path.rename(path)
        return path


def safe_name(name: str) -> str:
    """Returns a file name that stays in its folder, whatever a client sent."""
    cut = name.replace("/", "_").replace("\0", "_").encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    return cut if cut.strip(".") else "unnamed"


def safe_extension(extension: str) -> str:
    """Returns an extension with its dot, or an empty text."""
    return f".{safe_name(extension.lstrip('.'))[:16]}" if extension.strip(".") else ""


def rfc3339(time: Timestamp) -> str:
    """Formats a time with nine decimals always, so that times compare and sort as texts."""
    whole = Timestamp(seconds=time.seconds).ToJsonString()
    return f"{whole[:-1]}.{time.nanos:09d}Z"


def struct_to_json(struct: Struct) -> dict[str, Any]:
    """Returns what `MessageToDict` returns for a Struct, several times faster."""
    return {key: _value_to_json(value) for key, value in struct.fields.items()}


def _value_to_json(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        return _number_to_json(value.number_value)
    if kind == "struct_value":
        return struct_to_json(value.struct_value)
    if kind == "list_value":
        return [_value_to_json(item) for item in value.list_value.values]
    return getattr(value, kind) if kind in ("string_value", "bool_value") else None


def _number_to_json(number: float) -> int | float | str:
    if not math.isfinite(number):
        return str(number)  # JSON has no NaN; viam-server makes it a string too
    return int(number) if number.is_integer() and abs(number) < MAX_EXACT_INTEGER else number
