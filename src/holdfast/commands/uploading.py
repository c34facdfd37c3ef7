"""The command `upload`: a file or a folder of the machine, or data that comes with the command.

At most `_BATCH` files of a folder are in hand at once; its listing continues as they are done.
"""

from __future__ import annotations

import asyncio
import itertools
import mimetypes
import threading
from dataclasses import dataclass, field
from typing import Any

from ..base.attachment import Attachment
from ..base.bounded import Listed
from ..base.jobs import Job
from ..base.mime_types import EXTENSIONS, extension_of
from ..base.words import shown
from ..errors import CommandError, NotUploadedError
from ..manager import Manager
from ..sync.uploads.candidates import Candidate, Candidates
from ..sync.uploads.uploads import Labels, Uploaded
from .command import Argument, Arguments, Command, did_you_mean, text, texts
from .job import WAIT, answer_of

MAX_DATA_BYTES = 32 * 1024 * 1024
_MAX_IDS = 1_000
_BATCH = 64
_OTHER_TYPES = mimetypes.MimeTypes(filenames=())
"""Python's own table, without the machine's, so that a type has the same extension everywhere."""


@dataclass(eq=False)
class UploadReport:
    """What was uploaded so far: counts, the first files that failed or were skipped, and at most `_MAX_IDS` ids."""

    files: int = 0
    bytes: int = 0
    failed: Listed[dict[str, str]] = field(default_factory=Listed)
    skipped: Listed[dict[str, str]] = field(default_factory=Listed)
    ids: list[str] = field(default_factory=list)
    sent_bytes: int = 0
    _sending: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def sent(self, size_bytes: int) -> None:
        """Counts bytes that were handed to the connection. Safe to call from any thread."""
        with self._sending:
            self.sent_bytes += size_bytes

    def uploaded(self, done: Uploaded) -> None:
        self.files += 1
        self.bytes += done.size_bytes
        if done.identity and len(self.ids) < _MAX_IDS:
            self.ids.append(done.identity)

    def fail(self, path: str, why: str) -> None:
        self.failed.add({"path": path, "why": why})

    def skip(self, path: str, why: str) -> None:
        self.skipped.add({"path": path, "why": why})

    def figures(self) -> dict[str, Any]:
        """Returns the figures of the job's answer."""
        return {
            "files": self.files,
            "bytes": self.bytes,
            "sent_bytes": self.sent_bytes,
            "failed_count": self.failed.count,
            "failed": list(self.failed.first),
            "skipped_count": self.skipped.count,
            "skipped": list(self.skipped.first),
            "ids": list(self.ids),
        }


async def start_upload(
    manager: Manager, data: Attachment, extension: str, labels: Labels, report: UploadReport | None = None
) -> Job:
    """Starts an upload of data and returns its job, which fails as `Uploads.upload_data` does.

    Nothing of the data is left in memory when it is on the disk. Raises NotReadyError, and BusyError.
    """
    report = report or UploadReport()
    engine = await manager.ready_engine()

    async def run() -> None:
        uploads = engine.uplink.uploads
        report.uploaded(await uploads.upload_data(engine.store, data, extension, labels, report.sent))

    return await manager.jobs.start("upload", run, report.figures)


async def _upload(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    path, data = arguments["path"], arguments["data"]
    labels = Labels(arguments["tags"], arguments["dataset_ids"])
    if (path is None) == (data is None):
        raise CommandError("give either path or data")
    report = UploadReport()
    if path is None:
        job = await start_upload(manager, data, _extension(arguments["mime_type"]), labels, report)
    elif arguments["mime_type"] is not None:
        raise CommandError("mime_type belongs to data; the type of a file follows from its name")
    else:
        job = await _path_job(manager, path, labels, report)
    return await answer_of(job, arguments)


async def _path_job(manager: Manager, path: str, labels: Labels, report: UploadReport) -> Job:
    engine = await manager.ready_engine()
    roots, sync_paths = manager.upload_roots, [*manager.capture_roots, *manager.other_roots]
    found = await asyncio.to_thread(lambda: Candidates(manager.files, roots, sync_paths).find(path))

    async def one(candidate: Candidate) -> None:
        if candidate.why:
            report.skip(candidate.path, candidate.why)
            return
        try:
            report.uploaded(await engine.uplink.uploads.upload_file(candidate, labels, report.sent))
        except NotUploadedError as error:
            report.fail(candidate.path, str(error))

    async def run() -> None:
        await engine.uplink.link.ensure_usable()
        while batch := await asyncio.to_thread(lambda: list(itertools.islice(found, _BATCH))):
            done = await asyncio.gather(*map(one, batch), return_exceptions=True)
            for error in done:
                if error is not None:
                    raise error

    return await manager.jobs.start("upload", run, report.figures)


def _extension(mime_type: str | None) -> str:
    if mime_type is None:
        raise CommandError('mime_type is missing: the type of the data, such as "image/jpeg"')
    extension = extension_of(mime_type) or _OTHER_TYPES.guess_extension(mime_type)
    if not extension:
        hint = did_you_mean(mime_type, EXTENSIONS)
        raise CommandError(f"mime_type: {shown(mime_type)} is not known; {hint}")
    return extension


def _base64(name: str, value: Any) -> Attachment:
    """Returns the data without decoding it: that takes long, and needs memory, and has to wait for its turn."""
    if isinstance(value, Attachment):
        data = value.of_base64()
    elif isinstance(value, str):
        data = Attachment(value.encode(errors="replace"), is_base64=True)
    else:
        raise CommandError(f"{name} must be base64, not {shown(value)}")
    if not 0 < len(data) * 3 // 4 <= MAX_DATA_BYTES:
        raise CommandError(f"{name} must hold 1 to {MAX_DATA_BYTES} bytes, not {len(data) * 3 // 4}")
    return data


UPLOAD = Command(
    "upload",
    "uploads a file, a folder, or data that comes with the command; returns counts, bytes and the cloud's ids",
    _upload,
    (
        Argument("path", text, "a file or folder in one of upload_roots"),
        Argument("data", _base64, "instead of a path: the data itself, in base64"),
        Argument("mime_type", text, 'the type of the data, such as "image/jpeg"'),
        Argument("tags", texts, "tags for the upload", default=()),
        Argument("dataset_ids", texts, "datasets to add it to", default=()),
        *WAIT,
    ),
)
