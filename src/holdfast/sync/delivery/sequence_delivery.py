"""The delivery of a sequence that has ended: one CreateSequence call, then its file goes.

A sequence is no reading and counts in no ledger. What the cloud took is remembered for as long as the process lives
(`MAX_REMEMBERED`), so that a file that can't be deleted is not sent again; after a kill between the answer and the
deletion it arrives twice. Belongs to the event loop, but for `refuse`, which blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from viam.proto.app.data import CreateSequenceRequest, SequenceResourceFilter

from ...base.filesystem import FileSystem
from ...base.newest import Newest
from ...base.tasks import in_thread
from ...errors import DamagedFileError
from ...storage.quarantine.quarantine import quarantine_sequence
from ...storage.sequence_files import Sequence, read
from ..cloud.cloud import Cloud
from ..cloud.link import Link
from ..found import Found, Outcome

MAX_REMEMBERED = 1_000


class SequenceDelivery:
    """Sends `.seq` files; counts what became of them since the process started."""

    def __init__(self, files: FileSystem, cloud: Cloud, link: Link) -> None:
        self._files = files
        self._cloud = cloud
        self._link = link
        self._delivered: Newest[tuple[str, int], None] = Newest(MAX_REMEMBERED)
        self.delivered = 0
        self.quarantined = 0
        self.held: Callable[[str], bool] = lambda path: False
        """Whether the sequence in the file at that path may go on, so that it must not be sent yet."""

    async def deliver(self, found: Found, root: str, *, wait: bool) -> Outcome:
        """Sends the sequence in `found`. Raises CloudError, NotConnectedError, StorageError; the file is then where
        it was. One that is no sequence goes to quarantine below `root`."""
        if self.held(found.path):
            return Outcome.WAITING
        key = (found.path, found.modified_ns)
        if key not in self._delivered:
            try:
                sequence = await asyncio.to_thread(read, self._files, found.path)
            except DamagedFileError as error:
                await in_thread(self.refuse, found, root, str(error))
                return Outcome.QUARANTINED
            await self._link.admit_call(wait=wait)
            await self._cloud.create_sequence(_request(sequence, self._cloud.part_id))
            self._link.note_success()
            self.delivered += 1
            self._delivered[key] = None
        await in_thread(self._files.remove, found.path)
        self._delivered.pop(key, None)
        return Outcome.DELIVERED

    def refuse(self, found: Found, root: str, cause: str) -> None:
        """The sequence will never be taken: it goes to quarantine. Raises StorageError. Blocks."""
        quarantine_sequence(self._files, root, found.path, cause)
        self.quarantined += 1


def _request(sequence: Sequence, part_id: str) -> bytes:
    request = CreateSequenceRequest(
        part_id=part_id,
        resources=[SequenceResourceFilter(resource_name=r, method_name=m) for r, m in sequence.resources],
        sequence_tags=sequence.tags,
    )
    request.start_time.FromNanoseconds(sequence.start_ns)
    request.end_time.FromNanoseconds(sequence.end_ns)
    return request.SerializeToString()
