"""The delivery of files: their calls, and what the errors of these mean for the files.

Belongs to the event loop; what touches a disk runs on worker threads. A file is deleted only after the cloud said
yes to all of it. What the cloud took is in the ledger before anything else happens, so it is never sent again: not
the parts of a file that was interrupted, and not a file that could not be deleted, after a restart neither. What
the cloud refuses for good is singled out, file by file and then reading by reading, and kept in quarantine; the
rest of its call is delivered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from ...base.clock import Clock
from ...base.filesystem import FileSystem
from ...base.log_limit import once
from ...base.tasks import in_thread
from ...errors import CloudError, DamagedFileError, NotConnectedError, StorageError, printable
from ...storage.layout import FileKind
from ...storage.ledger.known_files import WHOLE
from ...storage.store import Store
from ..cloud.bandwidth import Meter
from ..cloud.cloud import Cloud
from ..cloud.link import Link
from ..cloud.verdicts import Verdict, verdict
from ..found import Found, Outcome
from ..retries import Retries
from .bundle import Bundle, bundle
from .calls import CHUNK_BYTES, Call, ImagesCalls, UnaryCall, file_contents, file_metadata
from .progress import Progress
from .sequence_delivery import SequenceDelivery
from .settlement import Settlement
from .transfer import Transfer

logger = logging.getLogger(__name__)

Outcomes = dict[str, Outcome]


class Delivery:
    """Sends files, one attempt at a time. Several may be under way at once, one file only once."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        stores: Callable[[], Sequence[Store]],
        cloud: Cloud,
        link: Link,
    ) -> None:
        self._files = files
        self._clock = clock
        self.settlement = Settlement(files, stores)
        self._cloud = cloud
        self._link = link
        self.retries = Retries(clock)
        self._bundling = asyncio.Lock()
        """One bundle is made at a time: it is work for the processor, and several would all be ready late."""
        self.last_error: str | None = None
        self.tags: tuple[str, ...] = ()
        self.sequences = SequenceDelivery(files, cloud, link)

    @property
    def meter(self) -> Meter:
        """How fast uploads go."""
        return self._cloud.meter

    @property
    def retrying(self) -> int:
        """Files that failed and wait for their next attempt."""
        return len(self.retries)

    def is_due(self, found: Found) -> bool:
        """Whether the scheduled sync should try `found` now."""
        return self.retries.is_due(found.path)

    async def attempt(self, found: Found, *, wait: bool, alone: bool = False) -> Outcome:
        """One attempt. With `wait` false, a link that is down is a failure instead of something to wait for;
        `alone` tells that nothing else is under way.

        When cancelled, the file is where it was, unless it was just being settled: that comes to its end. What the
        cloud took meanwhile may be sent again.
        """
        with self._claimed([found]) as claimed:
            return await self._attempt(found, wait, alone) if claimed else Outcome.GONE

    async def _attempt(self, found: Found, wait: bool, alone: bool) -> Outcome:
        try:
            if found.kind is FileKind.CAPTURE:
                outcome = await self._capture_file(found, wait)
            elif found.kind is FileKind.ENDED_SEQUENCE:
                outcome = await self._sequence(found, wait)
            else:
                outcome = await self._arbitrary_file(found, wait)
        except CloudError as error:
            return self._failed([found], error, alone)
        except NotConnectedError as error:
            self.last_error = str(error)
            return Outcome.WAITING
        except StorageError as error:
            return self._unreadable(found, error)
        self.retries.succeeded([found.path])
        return outcome

    async def attempt_together(self, founds: Sequence[Found], *, wait: bool, alone: bool = False) -> Outcomes:
        """One attempt for several small capture files of one folder, in as few calls as their metadata allow."""
        outcomes: Outcomes = {}
        with self._claimed(founds) as claimed:
            try:
                await self._attempt_together(claimed, wait, alone, outcomes)
            except Exception as error:  # the last resort: everything foreseen is handled
                rest = [found for found in claimed if found.path not in outcomes]
                wait_s = self.retries.failed([found.path for found in rest])  # fewer together, until it is alone
                self.last_error = f"{printable(rest[0].path)}: {type(error).__name__}: {error}"
                logger.exception(
                    "%s, one of %d files: sync failed unexpectedly; tried again in %.1f s",
                    printable(rest[0].path), len(rest), wait_s, extra=once(rest[0].folder),
                )  # fmt: skip
                outcomes |= {found.path: Outcome.WAITING for found in rest}
        return {found.path: outcomes.get(found.path, Outcome.GONE) for found in founds}

    @contextmanager
    def _claimed(self, founds: Sequence[Found]) -> Iterator[Sequence[Found]]:
        """Those of `founds` that are not just being deleted to free space, and are not while this lasts."""
        claims = self.settlement.store_of(founds[0]).claims  # whose they are may change with the configuration
        claimed = claims.take_all(found.path for found in founds)
        try:
            yield [found for found in founds if found.path in claimed]
        finally:
            claims.free(*claimed)

    async def _attempt_together(self, founds: Sequence[Found], wait: bool, alone: bool, outcomes: Outcomes) -> None:
        """Fills `outcomes` as far as it comes."""
        bundles, others = list[Bundle](), list(founds)
        if len(founds) > 1:
            async with self._bundling:
                bundles, others = await in_thread(self._bundle, founds)
        for each in bundles:
            await self._send_bundle(each, wait, alone, outcomes)
        for found in others:
            outcomes[found.path] = await self._attempt(found, wait, alone)

    def _bundle(self, founds: Sequence[Found]) -> tuple[list[Bundle], list[Found]]:
        return bundle(self._files, founds, self._cloud.part_id, self.settlement.begun(founds))

    async def _send_bundle(self, whole: Bundle, wait: bool, alone: bool, outcomes: Outcomes) -> None:
        """One call with whole files; halved as often as it is refused, until the file that is to blame is alone."""
        pending = [whole]
        while pending:
            part = pending.pop()
            founds = [member.found for member in part.members]
            try:
                await self._send(part.call, wait, Progress(self._clock, founds[0].path, len(part.call.request)))
            except CloudError as error:
                if verdict(error) not in (Verdict.QUARANTINE, Verdict.TOO_LARGE):
                    outcomes |= dict.fromkeys([found.path for found in founds], self._failed(founds, error, alone))
                elif len(founds) > 1:
                    pending += reversed(part.halves())
                else:
                    outcomes[founds[0].path] = await self._attempt(founds[0], wait, alone)
            except NotConnectedError as error:
                self.last_error = str(error)
                outcomes |= dict.fromkeys([found.path for found in founds], Outcome.WAITING)
            else:
                self.retries.succeeded(found.path for found in founds)
                settled = await in_thread(
                    self.settlement.took_whole, [(member.found, member.scanned) for member in part.members]
                )
                for found, outcome in settled:
                    if isinstance(outcome, StorageError):
                        outcome = self._unreadable(found, outcome)
                    outcomes[found.path] = outcome

    async def _capture_file(self, found: Found, wait: bool) -> Outcome:
        with ExitStack() as opened:
            try:
                transfer, call = await in_thread(self._begin, found, opened)
            except DamagedFileError as error:
                return await in_thread(self.settlement.unreadable, found, str(error))
            progress = Progress(self._clock, found.path, found.size_bytes)
            send = partial(self._send, wait=wait, progress=progress)
            is_refused = partial(self._link.refused, " ".join(transfer.collector))
            while call is not None:
                await transfer.deliver(call, send, is_refused, in_thread)
                call = await in_thread(transfer.next_call)
            outcome = await in_thread(transfer.finish)
            progress.done()
            return outcome

    def _begin(self, found: Found, opened: ExitStack) -> tuple[Transfer, Call | None]:
        transfer = Transfer(self._files, self.settlement, found, self._cloud.part_id)
        opened.callback(transfer.close)
        return transfer, transfer.next_call()

    async def _send(self, whole: Call, wait: bool, progress: Progress) -> None:
        for call in whole.calls if isinstance(whole, ImagesCalls) else (whole,):
            await self._link.admit(wait=wait)
            if isinstance(call, UnaryCall):
                await self._cloud.upload_capture(call.request)
                progress.took(len(call.request))
            else:
                await self._cloud.upload_stream("StreamingDataCaptureUpload", progress.counted(call.messages))
                progress.took()
            self._link.succeeded()

    async def _sequence(self, found: Found, wait: bool) -> Outcome:
        root = self.settlement.store_of(found).root
        try:
            return await self.sequences.deliver(found, root, wait=wait)
        except CloudError as error:
            if verdict(error) is not Verdict.QUARANTINE or not self._link.refused(root, error):
                raise
            self.last_error = f"{printable(found.path)}: {error}"
            await in_thread(self.sequences.refuse, found, root, f"refused by the cloud: {error}")
            return Outcome.QUARANTINED

    async def _arbitrary_file(self, found: Found, wait: bool) -> Outcome:
        if self.settlement.acknowledged(found) != WHOLE:
            await self._link.admit(wait=wait)
            progress = Progress(self._clock, found.path, found.size_bytes)
            try:
                messages = progress.counted(partial(self._file_messages, found))
                await self._cloud.upload_stream("FileUpload", messages)
            except CloudError as error:
                if verdict(error) is not Verdict.QUARANTINE or not self._link.refused(found.folder, error):
                    raise
                self.last_error = f"{printable(found.path)}: {error}"
                return await in_thread(self.settlement.refused_file, found, str(error))
            self._link.succeeded()
            progress.done()
            if not await in_thread(self.settlement.is_unchanged, found):
                logger.info("%s changed while it was sent; it is sent again whole", printable(found.path))
                return Outcome.WAITING
        return await in_thread(self.settlement.close_file, found)

    def _file_messages(self, found: Found) -> Iterator[bytes]:
        tags = () if self.settlement.is_kept_upload(found) else self.tags
        yield file_metadata(found, self._cloud.part_id, tags)
        for chunk in self._files.chunks(found.path, CHUNK_BYTES):
            yield file_contents(chunk)

    def _failed(self, founds: Sequence[Found], error: CloudError, alone: bool) -> Outcome:
        """A call with `founds` failed; they stay, and are tried again as the verdict says."""
        first = printable(founds[0].path)
        what = first if len(founds) == 1 else f"{first} and {len(founds) - 1} more"
        self.last_error = f"{what}: {error}"
        paths = [found.path for found in founds]
        found = self._link.failed(founds[0].path, error)
        if error.is_cut:
            self.retries.cut(paths)
        if found is not Verdict.LINK or (alone and error.is_cut):
            wait_s = self.retries.failed(paths)
            logger.warning(
                "%s: not accepted: %s; tried again in %.1f s",
                what,
                error,
                wait_s,
                extra=once(f"{founds[0].folder} {error.code}"),
            )
        return Outcome.WAITING

    def _unreadable(self, found: Found, error: StorageError) -> Outcome:
        if error.reason == "no_such_file":
            self.retries.forget([found.path])
            if found.kind is FileKind.ARBITRARY:
                self.settlement.vanished(found)
            return Outcome.GONE
        self.last_error = str(error)
        wait_s = self.retries.failed([found.path])
        logger.warning("%s; tried again in %.1f s", error, wait_s, extra=once(str(error)))
        return Outcome.WAITING
