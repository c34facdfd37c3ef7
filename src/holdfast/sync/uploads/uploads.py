"""Uploads that somebody asked for: files of theirs, and data that they handed us. Belongs to the event loop.

Beside the rounds of sync, `AT_ONCE` at a time, streamed from the disk. No file is sent here and by sync at once:
both claim it. A file under a sync path is deleted when it is delivered, as sync does; every other one stays. What
the cloud refuses, with these tags and datasets, stays where it is; only data that was handed us goes to quarantine.

An upload of data goes on when its caller is gone: a task each, which `stop` ends.
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

from ...base.clock import Clock
from ...base.filesystem import FileSystem
from ...base.tasks import end, in_thread, unheard
from ...errors import CloudError, CommandError, NotConnectedError, NotUploadedError, StorageError, printable
from ...storage.store import Store, store_of
from ..cloud.cloud import Cloud
from ..cloud.link import Link
from ..cloud.verdicts import Verdict, verdict
from ..delivery.calls import CHUNK_BYTES, file_contents, file_metadata
from ..delivery.progress import Progress
from ..delivery.settlement import Settlement, Settlements
from ..found import Found
from .kept import forget_unfinished, keep, path_for
from .sources import Candidate, Source

AT_ONCE = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Uploaded:
    """What the cloud has. `identity` is its id there, as far as it tells one."""

    size_bytes: int
    identity: str


@dataclass(frozen=True)
class Labels:
    """What an upload is to have in the cloud."""

    tags: tuple[str, ...] = ()
    dataset_ids: tuple[str, ...] = ()


class Uploads:
    """`may_begin` returns when a new upload may begin. `stop` must be called."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        cloud: Cloud,
        link: Link,
        settlements: Settlements,
        stores: Callable[[], Sequence[Store]],
        may_begin: Callable[[], Awaitable[object]],
    ) -> None:
        self._files = files
        self._clock = clock
        self._cloud = cloud
        self._link = link
        self._settlements = settlements
        self._stores = stores
        self._may_begin = may_begin
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._writing = asyncio.Lock()
        self._sending: dict[str, asyncio.Task[Uploaded]] = {}
        self._tidy: set[str] = set()

    async def file(self, candidate: Candidate, labels: Labels) -> Uploaded:
        """Uploads a file that may be read. Raises NotUploadedError, and NotConnectedError without a link."""
        async with self._slots, self._opened(candidate.root, candidate.path) as source:
            if not source.found.size_bytes:
                raise NotUploadedError("it is empty")
            if not candidate.is_synced:
                return await self._send(source, labels)
            settlement = self._settlement_of(source.found)
            with _claimed(settlement):
                uploaded = await self._send(source, labels)
                await in_thread(_settle, source, settlement)
                return uploaded

    async def data(self, store: Store, data: bytes, extension: str, labels: Labels) -> Uploaded:
        """Uploads data, which is kept in `store` until the cloud has it; goes on when this is cancelled.

        Raises CommandError for labels that can't be and for what the cloud refuses, NotConnectedError where it is
        kept for later, BusyError and StorageError where it is not.
        """
        path = path_for(store.root, data, extension, labels.tags, labels.dataset_ids)
        task = self._sending.get(path)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._keep_and_send(store, path, data))
            self._sending[path] = task
            task.add_done_callback(partial(self._sent, path))
        await asyncio.wait([task])
        if task.cancelled():
            raise NotConnectedError(_later(path, "the data manager was stopped"))
        return task.result()

    async def stop(self) -> None:
        """Ends uploads of data; what is kept stays for the next sync. What a stalled disk holds up is not waited
        for long."""
        await end(self._sending.values())

    def _sent(self, path: str, task: asyncio.Task[Uploaded]) -> None:
        del self._sending[path]
        unheard(task)

    async def _keep_and_send(self, store: Store, path: str, data: bytes) -> Uploaded:
        if not store.claims.take(path):
            raise NotConnectedError(_later(path, "sync is sending the same data"))
        try:
            async with self._writing:
                await in_thread(self._keep, store, path, data)
            del data  # it is on the disk now, and may wait there for long
            try:
                await self._link.connected()
                async with self._slots, self._opened(store.root, path) as source:
                    uploaded = await self._send(source, Labels())
                    await in_thread(_settle, source, self._settlement_of(source.found))
                    return uploaded
            except (NotConnectedError, _FailedError) as error:
                raise NotConnectedError(_later(path, str(error))) from error
            except _RefusedError as error:
                await in_thread(self._settlement_of(error.found).quarantine_refused_file, str(error))
                raise CommandError(f"refused by the cloud: {error}; it is kept in failed/") from error
        finally:
            store.claims.free(path)

    def _keep(self, store: Store, path: str, data: bytes) -> None:
        if store.root not in self._tidy:
            forget_unfinished(self._files, store.root)
            self._tidy.add(store.root)
        keep(self._files, store.root, path, data, store.limits.limits.most_bytes)
        store.writer.completion.wrote()

    def _settlement_of(self, found: Found) -> Settlement:
        return self._settlements.of(store_of(self._stores(), found.path), found)

    async def _send(self, source: Source, labels: Labels) -> Uploaded:
        """One call; NotUploadedError says why it did not succeed."""
        await self._may_begin()
        await self._link.admit(wait=False)
        progress = Progress(self._clock, source.found.path, source.found.size_bytes)

        def messages() -> Iterator[bytes]:
            yield file_metadata(source.found, self._cloud.part_id, labels.tags, labels.dataset_ids)
            for chunk in source.chunks(CHUNK_BYTES):
                yield file_contents(chunk)

        try:
            answer = await self._cloud.upload_stream("FileUpload", progress.counted(messages))
        except CloudError as error:
            self._link.failed(source.found.path, error)
            if verdict(error) is Verdict.QUARANTINE:
                raise _RefusedError(source.found, str(error)) from error
            raise _FailedError(str(error)) from error
        except StorageError as error:
            raise _FailedError(str(error)) from error
        self._link.succeeded()
        progress.note_end()
        if not await asyncio.to_thread(source.is_unchanged):
            raise _FailedError("it changed while it was sent")
        return Uploaded(source.found.size_bytes, _identity(answer))

    @asynccontextmanager
    async def _opened(self, root: str, path: str) -> AsyncIterator[Source]:
        opened = ExitStack()
        try:
            try:
                source = await in_thread(self._open, root, path, opened)
            except StorageError as error:
                raise _FailedError(str(error)) from error
            yield source
        finally:
            await in_thread(opened.close)

    def _open(self, root: str, path: str, opened: ExitStack) -> Source:
        source = Source(self._files, root, path)
        opened.callback(source.close)
        return source


class _FailedError(NotUploadedError):
    """It may succeed later."""


class _RefusedError(NotUploadedError):
    """The cloud will never take it, as it was sent."""

    def __init__(self, found: Found, why: str) -> None:
        super().__init__(why)
        self.found = found


@contextmanager
def _claimed(settlement: Settlement) -> Iterator[None]:
    claims, path = settlement.store.claims, settlement.found.path
    if not claims.take(path):
        raise NotUploadedError("sync is sending it")
    try:
        yield
    finally:
        claims.free(path)


def _settle(source: Source, settlement: Settlement) -> None:
    """Counts and removes a file that the cloud has, unless another file has its name by now. Blocks."""
    if not source.has_its_name():
        return
    try:
        settlement.settle_file()
    except StorageError as error:
        logger.warning("%s: it is uploaded, and stays: %s", printable(source.found.path), error)


def _later(path: str, why: str) -> str:
    return f"{why}; it is kept as {printable(path)} and sent with the next sync that can: do not send it again"


def _identity(answer: bytes) -> str:
    try:
        response = FileUploadResponse.FromString(answer)
    except DecodeError:
        return ""
    return response.binary_data_id or response.file_id
