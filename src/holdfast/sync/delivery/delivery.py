"""The delivery of files: their calls, and what the errors of these calls mean for the files.

A file is removed only after the cloud acknowledged all of it. What the cloud took is in the ledger before anything
else happens, so it is not sent again, not even after a restart: neither what was acknowledged of a file whose
upload was interrupted, nor a file that could not be removed. What the cloud refuses for good is singled out, file
by file and then reading by reading, and kept in quarantine; the rest of its call is delivered.

Belongs to the event loop; what touches a disk runs on worker threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ...base import unforeseen
from ...base.clock import Clock
from ...base.filesystem import FileSystem
from ...base.log_limit import once
from ...base.noted import Noted
from ...base.tasks import in_thread
from ...errors import CloudError, NotConnectedError, StorageError
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
from .calls import CHUNK_BYTES, file_contents, file_metadata
from .open_file import OpenFile, opened
from .pace import Pace
from .sender import Sender
from .sequence_delivery import IsOpen, SequenceDelivery
from .settlement import Settlement, Settlements, settle_together
from .transfer import send_capture_file

_NOT_BELIEVED = " (the cloud has accepted nothing since it refused this first; until then it stays)"

logger = logging.getLogger(__name__)


class Delivery:
    """Sends files, one attempt at a time. Several attempts may be under way at once, but a file in one only."""

    def __init__(self, files: FileSystem, clock: Clock, cloud: Cloud, link: Link) -> None:
        self._files = files
        self._clock = clock
        self._cloud = cloud
        self._link = link
        self._sender = Sender(clock, cloud, link)
        self._bundling = asyncio.Lock()
        """Held while a bundle is made: that is work for the processor, and several at once would all be late."""
        self._tags: tuple[str, ...] = ()
        self.settlements = Settlements(files)
        self.retries = Retries(clock)
        self.sequences = SequenceDelivery(files, self._sender)
        self.last_error: Noted | None = None

    def configure(self, tags: tuple[str, ...], is_open: IsOpen) -> None:
        """Sets the tags of arbitrary files, and what says whether the sequence in a file may still go on."""
        self._tags = tags
        self.sequences.configure(is_open)

    @property
    def meter(self) -> Meter:
        """Measures how fast uploads go."""
        return self._cloud.meter

    @property
    def pace(self) -> Pace:
        """Measures how fast the files of sync arrive."""
        return self._sender.pace

    @property
    def retrying(self) -> int:
        """How many files failed and wait for their next attempt."""
        return len(self.retries) - len(self.retries.held_open)

    def is_due(self, found: Found) -> bool:
        """Whether scheduled sync should try `found` now."""
        return self.retries.is_due(found.path)

    async def attempt(
        self, store: Store, founds: Sequence[Found], *, wait: bool, alone: bool = False
    ) -> dict[str, Outcome]:
        """Makes one attempt to deliver files of one folder, which belong to `store`; returns the outcomes by path.

        Several small capture files go in as few calls as their metadata allow. A file that something else has
        claimed counts as gone, such as one that the limits are deleting. With `wait` false, a link that is down is
        a failure instead of something to wait for; `alone` says that nothing else is under way.

        When cancelled, each file is where it was, unless it was just being settled: that is finished first. What
        the cloud took meanwhile may be sent again.
        """
        outcomes: dict[str, Outcome] = {}
        with self._claimed(store, founds) as claimed:
            try:
                await self._attempt_claimed(claimed, wait, alone, outcomes)
            except Exception as error:  # the last resort: everything foreseen is handled
                rest = [each.found for each in claimed if each.found.path not in outcomes]
                # fewer go together next time, until the one that is to blame is alone
                wait_s = self.retries.note_failure(_paths(rest))
                self.last_error = Noted(f"{rest[0].path}: {type(error).__name__}: {error}", self._clock.monotonic())
                unforeseen.remember("sync", error)
                logger.exception(
                    "%s, one of %d files: sync failed unexpectedly; tried again in %.1f s",
                    rest[0].path, len(rest), wait_s, extra=once(rest[0].folder),
                )  # fmt: skip
                outcomes |= {found.path: Outcome.WAITING for found in rest}
        return {found.path: outcomes.get(found.path, Outcome.GONE) for found in founds}

    @contextmanager
    def _claimed(self, store: Store, founds: Sequence[Found]) -> Iterator[Sequence[Settlement]]:
        """Claims `founds` while this lasts, so that the limits do not delete them; yields those that were free."""
        claimed = store.claims.claim_all(found.path for found in founds)
        try:
            yield [self.settlements.of(store, found) for found in founds if found.path in claimed]
        finally:
            store.claims.release(*claimed)

    async def _attempt_claimed(
        self, settlements: Sequence[Settlement], wait: bool, alone: bool, outcomes: dict[str, Outcome]
    ) -> None:
        """Adds to `outcomes` as it goes, so that they are known also when it fails."""
        bundles, others = list[Bundle](), list(settlements)
        if len(settlements) > 1:
            async with self._bundling:
                bundles, others = await in_thread(bundle, self._files, settlements, self._sender.part_id)
        for each in bundles:
            await self._send_bundle(each, wait, alone, outcomes)
        for settlement in others:
            outcomes[settlement.found.path] = await self._send_alone(settlement, wait, alone)

    async def _send_bundle(self, whole: Bundle, wait: bool, alone: bool, outcomes: dict[str, Outcome]) -> None:
        """Sends whole files in one call, which is halved as often as it is refused, until the file that is to blame
        is alone."""
        pending = [whole]
        while pending:
            part = pending.pop()
            founds = [member.settlement.found for member in part.members]
            try:
                with self.pace.upload(founds[0].path, len(part.call.request)) as progress:
                    await self._sender.send_readings(part.call, progress, wait=wait)
            except CloudError as error:
                if verdict(error) not in (Verdict.QUARANTINE, Verdict.TOO_LARGE):
                    outcomes |= dict.fromkeys(_paths(founds), self._failed(founds, error, alone))
                elif len(founds) > 1:
                    pending += reversed(part.halves())
                else:
                    outcomes[founds[0].path] = await self._send_alone(part.members[0].settlement, wait, alone)
            except NotConnectedError as error:
                self.last_error = Noted(str(error), self._clock.monotonic())
                outcomes |= dict.fromkeys(_paths(founds), Outcome.WAITING)
            else:
                self.retries.note_success(_paths(founds))
                for settlement, outcome in await in_thread(settle_together, part.members):
                    if isinstance(outcome, StorageError):
                        outcome = await self._unusable(settlement, outcome)
                    outcomes[settlement.found.path] = outcome

    async def _send_alone(self, settlement: Settlement, wait: bool, alone: bool) -> Outcome:
        found = settlement.found
        try:
            if found.kind is FileKind.CAPTURE:
                outcome = await send_capture_file(self._files, settlement, self._sender, wait=wait)
            elif found.kind is FileKind.ENDED_SEQUENCE:
                outcome = await self._send_sequence(settlement, wait)
            else:
                outcome = await self._send_file(settlement, wait)
        except CloudError as error:
            return self._failed([found], error, alone)
        except NotConnectedError as error:
            self.last_error = Noted(str(error), self._clock.monotonic())
            return Outcome.WAITING
        except StorageError as error:
            return await self._unusable(settlement, error)
        if outcome is Outcome.HELD_OPEN:
            await self._note_held_open(found)
        else:
            self.retries.note_success([found.path])
        return outcome

    async def _send_sequence(self, settlement: Settlement, wait: bool) -> Outcome:
        found, root = settlement.found, settlement.store.root
        try:
            return await self.sequences.deliver(found, root, wait=wait)
        except CloudError as error:
            if not self._is_refused(found, error, root):
                raise
            return await self.sequences.quarantine_refused(found, root, str(error))

    async def _send_file(self, settlement: Settlement, wait: bool) -> Outcome:
        found, is_sent = settlement.found, settlement.acknowledged == WHOLE
        began_s = 0.0 if is_sent else await self._sender.admit(wait=wait)
        async with opened(self._files, found.path) as file:
            if not is_sent:
                if await in_thread(settlement.is_held_open):
                    return Outcome.HELD_OPEN
                try:
                    await self._sender.send_file(found, partial(self._file_messages, settlement, file), began_s)
                except CloudError as error:
                    if not self._is_refused(found, error, found.folder):
                        raise
                    return await in_thread(settlement.quarantine_refused_file, file.identity, str(error))
            outcome = await in_thread(settlement.settle_file, file.identity)
        if outcome is Outcome.WAITING:
            logger.info("%s changed while it was sent; it is sent again whole", found.path)
        return outcome

    async def _note_held_open(self, found: Found) -> None:
        """Notes that a process has a file open for writing; says so, and which process it is, when that is new."""
        holder = self.retries.holder(found.path)
        if not holder:
            holder = await in_thread(self._files.writer_of, found.path) or "a process"
            logger.info("%s stays as long as %s has it open for writing", found.path, holder)
        self.retries.note_held_open(found.path, holder)

    def _file_messages(self, settlement: Settlement, file: OpenFile) -> Iterator[bytes]:
        found = settlement.found
        yield file_metadata(found, self._sender.part_id, () if settlement.is_kept_upload else self._tags)
        for chunk in file.chunks(CHUNK_BYTES):
            yield file_contents(chunk)

    def _is_refused(self, found: Found, error: CloudError, collector: str) -> bool:
        """Whether the cloud will never take the file, so that it goes to quarantine."""
        if verdict(error) is not Verdict.QUARANTINE or not self._sender.believes(error, found, collector):
            return False
        self.last_error = Noted(f"{found.path}: {error}", self._clock.monotonic())
        return True

    def _failed(self, founds: Sequence[Found], error: CloudError, alone: bool) -> Outcome:
        """Notes that a call with `founds` failed; they stay, and are tried again as the verdict says."""
        first = founds[0].path
        what = first if len(founds) == 1 else f"{first} and {len(founds) - 1} more"
        is_refused = verdict(error) in (Verdict.QUARANTINE, Verdict.TOO_LARGE)
        why = f"{error}{_NOT_BELIEVED}" if is_refused else str(error)
        self.last_error = Noted(f"{what}: {why}", self._clock.monotonic())
        meaning = self._link.judge_failure(founds[0].path, error)
        if error.is_cut:
            self.retries.note_cut(_paths(founds))
        if meaning is not Verdict.LINK or (alone and error.is_cut):
            wait_s = self.retries.note_failure(_paths(founds))
            logger.warning(
                "%s: not accepted: %s; tried again in %.1f s",
                what,
                why,
                wait_s,
                extra=once(f"{founds[0].folder} {error.code}"),
            )
        return Outcome.WAITING

    async def _unusable(self, settlement: Settlement, error: StorageError) -> Outcome:
        """Notes that a file can't be read or removed, or is not there any more."""
        path = settlement.found.path
        if error.reason == "no_such_file" and not await in_thread(self._files.exists, path):
            self.retries.forget([path])
            if settlement.found.kind is FileKind.ARBITRARY:
                await in_thread(settlement.note_vanished)
            return Outcome.GONE
        self.last_error = Noted(str(error), self._clock.monotonic())
        wait_s = self.retries.note_failure([path])
        logger.warning("%s; tried again in %.1f s", error, wait_s, extra=once(str(error)))
        return Outcome.WAITING


def _paths(founds: Sequence[Found]) -> list[str]:
    return [found.path for found in founds]
