"""The delivery of a sequence that has ended: one CreateSequence call, then its file is removed.

A sequence is no reading and counts in no ledger. The last `MAX_REMEMBERED` that the cloud took are remembered while
the process lives, so that a file that can't be removed is not sent again. A sequence whose process is killed
between the answer and the removal arrives twice. Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from viam.proto.app.data import CreateSequenceRequest, SequenceResourceFilter

from ...base.at import Identity
from ...base.bounded import Newest
from ...base.filesystem import FileSystem
from ...base.tasks import in_thread
from ...errors import DamagedFileError
from ...storage.quarantine.quarantine import quarantine_sequence
from ...storage.sequence_files import Sequence, read
from ..found import Found, Outcome
from .sender import Sender

MAX_REMEMBERED = 1_000

IsOpen = Callable[[str], bool]
"""Whether the sequence in the file at a path may still go on, so that it must not be sent yet."""


def no_sequence_is_open(path: str) -> bool:
    """Returns False: the answer for as long as nothing else is configured."""
    return False


class SequenceDelivery:
    """Sends `.seq` files. `delivered` and `quarantined` count what became of them since this was made."""

    def __init__(self, files: FileSystem, sender: Sender) -> None:
        self._files = files
        self._sender = sender
        self._delivered: Newest[tuple[str, int], None] = Newest(MAX_REMEMBERED)
        self._is_open: IsOpen = no_sequence_is_open
        self.delivered = 0
        self.quarantined = 0

    def configure(self, is_open: IsOpen) -> None:
        """Sets what says whether a sequence may still go on."""
        self._is_open = is_open

    async def deliver(self, found: Found, root: str, *, wait: bool) -> Outcome:
        """Sends the sequence in `found` and removes its file. One that is open stays, as `Outcome.WAITING`.

        A file that is no sequence goes to quarantine below `root`. Raises CloudError, NotConnectedError and
        StorageError; the file is then where it was. After a CloudError that says that the cloud will never take the
        sequence, the caller calls `quarantine_refused`.
        """
        if self._is_open(found.path):
            return Outcome.WAITING
        identity = Identity.of(await asyncio.to_thread(self._files.stat, found.path))
        key = found.version
        if key not in self._delivered:
            try:
                sequence = await asyncio.to_thread(read, self._files, found.path)
            except DamagedFileError as error:
                return await in_thread(self._quarantine, found, root, str(error))
            await self._sender.send_sequence(request_of(sequence, self._sender.part_id), wait=wait)
            self.delivered += 1
            self._delivered[key] = None
        await in_thread(self._files.remove, found.path, identity)
        self._delivered.pop(key, None)
        return Outcome.DELIVERED

    async def quarantine_refused(self, found: Found, root: str, cause: str) -> Outcome:
        """Moves a sequence that the cloud will never take into quarantine below `root`. Raises StorageError."""
        return await in_thread(self._quarantine, found, root, f"refused by the cloud: {cause}")

    def _quarantine(self, found: Found, root: str, cause: str) -> Outcome:
        quarantine_sequence(self._files, root, found.path, cause)
        self.quarantined += 1
        return Outcome.QUARANTINED


def request_of(sequence: Sequence, part_id: str) -> bytes:
    """Returns the serialized `CreateSequenceRequest` for a sequence."""
    request = CreateSequenceRequest(
        part_id=part_id,
        resources=[SequenceResourceFilter(resource_name=r, method_name=m) for r, m in sequence.resources],
        sequence_tags=sequence.tags,
    )
    request.start_time.FromNanoseconds(sequence.start_ns)
    request.end_time.FromNanoseconds(sequence.end_ns)
    return request.SerializeToString()
