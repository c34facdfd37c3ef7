"""Uploads that users ask for: of files that they name, and of data that they hand over.

They run beside the rounds of sync and are streamed from disk. Sync and an upload never send the same file at once,
since both claim it. A file under a sync path is deleted when it is delivered, as in a round of sync; any other file
stays. A file that the cloud refuses with these tags and datasets stays too. Data that the cloud refuses goes to
quarantine.

An upload of data is a task of its own, which continues when its caller is cancelled; `stop` ends it.

Runs on the event loop; the disk is read and written on worker threads. Bound: `AT_ONCE` uploads at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from google.protobuf.message import DecodeError
from viam.proto.app.datasync import FileUploadResponse

from ...base.filesystem import FileSystem
from ...base.tasks import begin, end, in_thread
from ...errors import CloudError, CommandError, NotConnectedError, NotUploadedError, StorageError
from ...storage.store import Store, store_of
from ..cloud.link import Link
from ..cloud.verdicts import Verdict, verdict
from ..delivery.calls import CHUNK_BYTES, file_contents, file_metadata
from ..delivery.sender import Sender
from ..delivery.settlement import Settlement, Settlements
from ..found import Found, Outcome
from .candidates import Candidate
from .kept import keep, path_for, remove_unfinished
from .open_file import OpenFile

AT_ONCE = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Uploaded:
    """An upload that the cloud has. `identity` is its id there; empty if the cloud did not say it."""

    size_bytes: int
    identity: str


@dataclass(frozen=True)
class Labels:
    """The tags and datasets that an upload gets in the cloud."""

    tags: tuple[str, ...] = ()
    dataset_ids: tuple[str, ...] = ()


class Uploads:
    """The uploads over one uplink. The owner must call `stop`.

    `may_begin` returns when a new upload may begin; each upload awaits it before it asks the link for its call.
    """

    def __init__(
        self,
        files: FileSystem,
        sender: Sender,
        link: Link,
        settlements: Settlements,
        stores: Callable[[], Sequence[Store]],
        may_begin: Callable[[], Awaitable[object]],
    ) -> None:
        self._files = files
        self._sender = sender
        self._link = link
        self._settlements = settlements
        self._stores = stores
        self._may_begin = may_begin
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._writing = asyncio.Lock()
        self._sending: dict[str, asyncio.Task[Uploaded]] = {}
        self._tidy: set[str] = set()

    async def upload_file(self, candidate: Candidate, labels: Labels) -> Uploaded:
        """Uploads a candidate. If it lies under a sync path, it is deleted when the cloud has it; not before any
        process that has it open for writing has closed it.

        Raises NotUploadedError if it was not uploaded, and NotConnectedError without a link. When cancelled, the
        upload ends too; if the file is just being deleted, that is finished first.
        """
        async with self._slots, self._opened(candidate.root, candidate.path) as file:
            if not file.found.size_bytes:
                raise NotUploadedError("it is empty")
            if not candidate.is_synced:
                return await self._send(file, labels)
            with _claimed(store_of(self._stores(), candidate.path), candidate.path):
                uploaded = await self._send(file, labels)
                # the stores may have changed while it was sent, and the earlier one may be closed
                await in_thread(_settle, file, self._settlement_of(file.found))
                return uploaded

    async def upload_data(self, store: Store, data: bytes, extension: str, labels: Labels) -> Uploaded:
        """Uploads data, which is kept in `store` until the cloud has it. Returns when the cloud has it.

        Raises CommandError for labels that can't be kept, and for data that the cloud refuses, which is then in
        quarantine. Raises NotConnectedError if the data is kept and a later sync sends it. Raises BusyError if the
        data is not kept, and StorageError if it can't be kept, or can't be moved to quarantine. When cancelled, the
        upload continues.
        """
        path = path_for(store.root, data, extension, labels.tags, labels.dataset_ids)
        task = self._sending.get(path)
        if task is None:
            task = self._sending[path] = begin(self._keep_and_send(store, path, data), "holdfast-upload")
            task.add_done_callback(partial(self._sent, path))
        await asyncio.wait([task])
        if task.cancelled():
            raise NotConnectedError(_later(path, "the data manager was stopped"))
        return task.result()

    async def stop(self) -> None:
        """Ends the uploads of data; kept data stays for the next sync. Waits for a stalled disk for a second."""
        await end(self._sending.values())

    def _sent(self, path: str, task: asyncio.Task[Uploaded]) -> None:
        del self._sending[path]

    async def _keep_and_send(self, store: Store, path: str, data: bytes) -> Uploaded:
        """Claims `path` from before the data is written until it is settled, so that sync does not send it too."""
        if not store.claims.try_claim(path):
            raise NotConnectedError(_later(path, "sync is sending the same data"))
        try:
            async with self._writing:
                await in_thread(self._keep, store, path, data)
            del data  # drops this task's reference: the data is on disk now, and may wait there for long
            try:
                await self._link.ensure_usable()
                async with self._slots, self._opened(store.root, path) as file:
                    uploaded = await self._send(file, Labels())
                    await in_thread(_settle, file, self._settlement_of(file.found))
                    return uploaded
            except (NotConnectedError, _FailedError) as error:
                raise NotConnectedError(_later(path, str(error))) from error
            except _RefusedError as error:
                await in_thread(self._settlement_of(error.found).quarantine_refused_file, str(error))
                raise CommandError(f"refused by the cloud: {error}; it is kept in failed/") from error
        finally:
            store.claims.release(path)

    def _keep(self, store: Store, path: str, data: bytes) -> None:
        if store.root not in self._tidy:
            remove_unfinished(self._files, store.root)
            self._tidy.add(store.root)
        keep(self._files, store.root, path, data, store.limits.limits.most_bytes)
        store.writer.completion.wrote()

    def _settlement_of(self, found: Found) -> Settlement:
        return self._settlements.of(store_of(self._stores(), found.path), found)

    async def _send(self, file: OpenFile, labels: Labels) -> Uploaded:
        """Sends the file in one call. Raises NotUploadedError with the reason if that fails."""
        await self._may_begin()

        def messages() -> Iterator[bytes]:
            yield file_metadata(file.found, self._sender.part_id, labels.tags, labels.dataset_ids)
            for chunk in file.chunks(CHUNK_BYTES):
                yield file_contents(chunk)

        try:
            answer = await self._sender.send_file(file.found, messages, wait=False)
        except CloudError as error:
            self._link.judge_failure(file.found.path, error)
            if verdict(error) is Verdict.QUARANTINE:
                raise _RefusedError(file.found, str(error)) from error
            raise _FailedError(str(error)) from error
        except StorageError as error:
            raise _FailedError(str(error)) from error
        if not await asyncio.to_thread(file.is_unchanged):
            raise _FailedError("it changed while it was sent")
        return Uploaded(file.found.size_bytes, _identity(answer))

    @asynccontextmanager
    async def _opened(self, root: str, path: str) -> AsyncIterator[OpenFile]:
        opened = ExitStack()
        try:
            try:
                file = await in_thread(self._open, root, path, opened)
            except StorageError as error:
                raise _FailedError(str(error)) from error
            yield file
        finally:
            await in_thread(opened.close)

    def _open(self, root: str, path: str, opened: ExitStack) -> OpenFile:
        file = OpenFile(self._files, root, path)
        opened.callback(file.close)
        return file


class _FailedError(NotUploadedError):
    """The upload failed, and may succeed later."""


class _RefusedError(NotUploadedError):
    """The cloud will never accept the upload as it was sent."""

    def __init__(self, found: Found, why: str) -> None:
        super().__init__(why)
        self.found = found


@contextmanager
def _claimed(store: Store, path: str) -> Iterator[None]:
    if not store.claims.try_claim(path):
        raise NotUploadedError("sync is sending it")
    try:
        yield
    finally:
        store.claims.release(path)


def _settle(file: OpenFile, settlement: Settlement) -> None:
    """Counts and removes a file that the cloud has, unless another file has its name by now. One that stays is left
    to sync. Blocks."""
    if not file.has_its_name():
        return
    try:
        if settlement.settle_file() is Outcome.HELD_OPEN:
            logger.info(
                "%s: it is uploaded, and stays as long as a process has it open for writing",
                file.found.path,
            )
    except StorageError as error:
        logger.warning("%s: it is uploaded, but can't be deleted: %s", file.found.path, error)


def _later(path: str, why: str) -> str:
    return f"{why}; it is kept as {path}, and a later sync sends it: do not send it again"


def _identity(answer: bytes) -> str:
    try:
        response = FileUploadResponse.FromString(answer)
    except DecodeError:
        return ""
    return response.binary_data_id or response.file_id
