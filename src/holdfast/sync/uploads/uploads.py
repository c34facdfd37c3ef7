"""Uploads that users ask for: of files that they name, and of data that they hand over.

They run beside the rounds of sync and are streamed from disk. Sync and an upload never send the same file at once,
since both claim it. A file under a sync path is deleted when it is delivered, as in a round of sync; any other file
stays. A file that the cloud refuses with these tags and datasets stays too. Data that the cloud refuses goes to
quarantine.

An upload that is cancelled leaves its file for sync if it lies under a sync path, as kept data does; any other file
stays as it is.

Runs on the event loop; the disk is read and written on worker threads. Bounds: `AT_ONCE` uploads at once, of which
one fewer may be of large files, so that these never keep out the others; and one piece of data is written to the
disk at once, so that only one is decoded in memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from viam.proto.app.datasync import FileUploadResponse

from ...base.attachment import Attachment
from ...base.filesystem import FileSystem
from ...base.tasks import begin, end, in_thread
from ...base.words import shortened
from ...errors import CloudError, CommandError, NotConnectedError, NotUploadedError, StorageError
from ...storage.store import Store, store_of
from ..cloud.link import Link
from ..cloud.verdicts import Verdict, verdict
from ..delivery.calls import CHUNK_BYTES, file_contents, file_metadata
from ..delivery.open_file import OpenFile, opened
from ..delivery.sender import Sender
from ..delivery.settlement import Settlement, Settlements
from ..found import Found, Outcome
from .candidates import Candidate
from .kept import keep, path_for, remove_unfinished

AT_ONCE = 4
_MAX_ID_CHARS = 200
LARGE_BYTES = 64 * 1024 * 1024
"""A larger file may take minutes or days."""

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


Sent = Callable[[int], None]
"""Is called with the number of bytes that gRPC has taken, on gRPC's threads."""


def _unseen(size_bytes: int) -> None:
    pass


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
        self._slots_for_large = asyncio.Semaphore(AT_ONCE - 1)
        self._writing = asyncio.Lock()
        self._sending: dict[str, asyncio.Task[Uploaded]] = {}
        self._tidy: set[str] = set()

    async def upload_file(self, candidate: Candidate, labels: Labels, sent: Sent = _unseen) -> Uploaded:
        """Uploads a candidate. If it lies under a sync path, it is deleted when the cloud has it; not before any
        process that has it open for writing has closed it.

        Raises NotUploadedError if it was not uploaded, and NotConnectedError without a link. When cancelled, the
        upload ends too; if the file is just being deleted, that is finished first.
        """
        async with self._slot(candidate.size_bytes), self._opened(candidate.root, candidate.path) as file:
            if not file.found.size_bytes:
                raise NotUploadedError("it is empty")
            if file.found.size_bytes > LARGE_BYTES >= candidate.size_bytes:
                raise NotUploadedError("it became large while it waited; upload it again")
            if not candidate.is_synced:
                return await self._send(file, labels, sent)
            with _claimed(store_of(self._stores(), candidate.path), candidate.path):
                uploaded = await self._send(file, labels, sent)
                # the stores may have changed while it was sent, and the earlier one may be closed
                await in_thread(_settle, file, self._settlement_of(file.found))
                return uploaded

    async def upload_data(
        self, store: Store, data: Attachment, extension: str, labels: Labels, sent: Sent = _unseen
    ) -> Uploaded:
        """Uploads data, which is kept in `store` until the cloud has it. Returns when the cloud has it.

        Raises CommandError for labels that can't be kept, for no data, and for data that the cloud is believed to
        refuse, which is then in quarantine. Raises NotConnectedError if the data is kept and a later sync sends it,
        also when cancelled. Raises BusyError if the data is not kept, and StorageError if it can't be kept, or
        can't be moved to quarantine.
        """
        keeping = begin(self._keep_and_begin(store, data, extension, labels, sent), "holdfast-keep")
        try:
            await asyncio.wait([keeping])
            path, sending, _ = keeping.result()
            await asyncio.wait([sending])
        except asyncio.CancelledError:
            await asyncio.wait([keeping])  # what is on its way to the disk gets there
            path, sending, is_mine = keeping.result()
            if is_mine:
                await end([sending])
        if sending.cancelled() or not sending.done():
            raise NotConnectedError(_later(path, "the upload was cancelled, or the data manager was stopped"))
        return sending.result()

    async def stop(self) -> None:
        """Ends the uploads of data; kept data stays for the next sync. Waits for a stalled disk for a second."""
        await end(self._sending.values())

    async def _keep_and_begin(
        self, store: Store, data: Attachment, extension: str, labels: Labels, sent: Sent
    ) -> tuple[str, asyncio.Task[Uploaded], bool]:
        """Returns the path at which the data is kept, the task that sends it from there, and whether that was begun
        for this call, and not for another one with the same data."""
        async with self._writing:
            path, is_claimed = await in_thread(self._keep, store, data, extension, labels)
        if is_claimed:
            task = self._sending[path] = begin(self._send_kept(store, path, sent), "holdfast-upload")
            task.add_done_callback(lambda _: self._sending.pop(path))
        elif path not in self._sending:
            raise NotConnectedError(_later(path, "sync is sending the same data"))
        return path, self._sending[path], is_claimed

    def _keep(self, store: Store, data: Attachment, extension: str, labels: Labels) -> tuple[str, bool]:
        """Claims a path and writes the data there, or returns False with the path that is claimed already.

        It is claimed from before the data is written, so that sync does not send it too. Blocks.
        """
        if store.root not in self._tidy:
            remove_unfinished(self._files, store.root)
            self._tidy.add(store.root)
        with data.opened() as content:
            path = path_for(store.root, content, extension, labels.tags, labels.dataset_ids)
            if not store.claims.try_claim(path):
                return path, False
            try:
                keep(self._files, store.root, path, content, store.limits.limits.most_bytes)
            except BaseException:
                store.claims.release(path)
                raise
        store.writer.completion.wrote()
        return path, True

    async def _send_kept(self, store: Store, path: str, sent: Sent) -> Uploaded:
        """Sends what is kept at `path`, which is claimed, and settles it."""
        try:
            await self._link.ensure_usable()
            async with self._slots, self._opened(store.root, path) as file:
                uploaded = await self._send(file, Labels(), sent)
                await in_thread(_settle, file, self._settlement_of(file.found))
                return uploaded
        except (NotConnectedError, _FailedError) as error:
            raise NotConnectedError(_later(path, str(error))) from error
        except _RefusedError as error:
            found = error.file.found
            if not self._link.judge_refusal(found.version, found.folder, error.cause):
                raise NotConnectedError(_later(path, str(error))) from error
            refused = self._settlement_of(found)
            await in_thread(refused.quarantine_refused_file, error.file.identity, str(error))
            raise CommandError(f"refused by the cloud: {error}; it is kept in failed/") from error
        finally:
            store.claims.release(path)

    @asynccontextmanager
    async def _slot(self, size_bytes: int) -> AsyncIterator[None]:
        async with AsyncExitStack() as slots:
            if size_bytes > LARGE_BYTES:
                await slots.enter_async_context(self._slots_for_large)
            await slots.enter_async_context(self._slots)
            yield

    def _settlement_of(self, found: Found) -> Settlement:
        return self._settlements.of(store_of(self._stores(), found.path), found)

    async def _send(self, file: OpenFile, labels: Labels, sent: Sent) -> Uploaded:
        """Sends the file in one call. Raises NotUploadedError with the reason if that fails."""
        await self._may_begin()

        def messages() -> Iterator[bytes]:
            yield file_metadata(file.found, self._sender.part_id, labels.tags, labels.dataset_ids)
            for chunk in file.chunks(CHUNK_BYTES):
                yield file_contents(chunk)
                sent(len(chunk))

        try:
            answer = await self._sender.send_file(file.found, messages, await self._sender.admit(wait=False))
        except CloudError as error:
            self._link.judge_failure(file.found.path, error)
            if verdict(error) is Verdict.QUARANTINE:
                raise _RefusedError(file, error) from error
            raise _FailedError(str(error)) from error
        except StorageError as error:
            raise _FailedError(str(error)) from error
        if not await asyncio.to_thread(file.is_unchanged):
            raise _FailedError("it changed while it was sent")
        return Uploaded(file.found.size_bytes, self._sender.hidden_in(_identity(answer)))

    @asynccontextmanager
    async def _opened(self, root: str, path: str) -> AsyncIterator[OpenFile]:
        async with AsyncExitStack() as stack:
            try:
                file = await stack.enter_async_context(opened(self._files, path, root))
            except StorageError as error:
                raise _FailedError(str(error)) from error
            yield file


class _FailedError(NotUploadedError):
    """The upload failed, and may succeed later."""


class _RefusedError(NotUploadedError):
    """The cloud says that it will never accept the upload as it was sent."""

    def __init__(self, file: OpenFile, cause: CloudError) -> None:
        super().__init__(str(cause))
        self.file = file
        self.cause = cause


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
        if settlement.settle_file(file.identity) is Outcome.HELD_OPEN:
            logger.info(
                "%s: it is uploaded, and stays as long as a process has it open for writing",
                file.found.path,
            )
    except StorageError as error:
        logger.warning("%s: it is uploaded, but can't be deleted: %s", file.found.path, error)


def _later(path: str, why: str) -> str:
    return f"{why}; it is kept as {path}, and a later sync sends it: do not send it again"


def _identity(answer: bytes) -> str:
    response = FileUploadResponse.FromString(answer)
    return shortened(response.binary_data_id or response.file_id, _MAX_ID_CHARS)
