"""Makes the calls of a delivery: each waits for the link, and its success is noted there.

Belongs to the event loop.
"""

from __future__ import annotations

from ...base.clock import Clock
from ...errors import CloudError
from ..cloud.cloud import Cloud
from ..cloud.link import Link
from ..cloud.replies import FILE_UPLOAD, STREAMED_UPLOAD
from ..cloud.streams import Messages
from ..found import Found
from .calls import Call, ImagesCalls, UnaryCall
from .pace import Pace
from .progress import Progress


class Sender:
    """Makes one call after the other, each as soon as the link admits it.

    With `wait` false, a method raises NotConnectedError instead of waiting for a link that is down. Each raises
    CloudError when the cloud does not accept the call.
    """

    def __init__(self, clock: Clock, cloud: Cloud, link: Link) -> None:
        self._cloud = cloud
        self._link = link
        self.pace = Pace(clock)

    @property
    def part_id(self) -> str:
        """The id of the machine part in whose name everything is sent."""
        return self._cloud.part_id

    def hidden_in(self, text: str) -> str:
        """Returns a text of the cloud without any part of the key or the token."""
        return self._cloud.hidden_in(text)

    async def send_readings(self, call: Call, progress: Progress, *, wait: bool) -> None:
        """Sends readings; returns when the cloud has all of them."""
        for each in call.calls if isinstance(call, ImagesCalls) else (call,):
            began_s = await self._link.admit_call(wait=wait)
            with self.pace.call(progress):
                if isinstance(each, UnaryCall):
                    await self._cloud.upload_capture(each.request)
                    progress.note_accepted(len(each.request))
                else:
                    await self._cloud.upload_stream(STREAMED_UPLOAD, progress.counted(each.messages))
                    progress.note_accepted()
            self._link.note_success(began_s)

    async def admit(self, *, wait: bool) -> float:
        """Returns when the link admits a call, for `send_file`. The caller opens the file after this, so that none
        is open for as long as the link is down."""
        return await self._link.admit_call(wait=wait)

    async def send_file(self, found: Found, messages: Messages, began_s: float) -> bytes:
        """Sends a file in a call that was admitted at `began_s`, and returns the cloud's serialized answer. gRPC's
        threads read the `messages`."""
        with self.pace.upload(found.path, found.size_bytes) as progress:
            with self.pace.call(progress):
                answer = await self._cloud.upload_stream(FILE_UPLOAD, progress.counted(messages))
                progress.note_accepted()
            self._link.note_success(began_s)
            progress.note_end()
        return answer

    async def send_sequence(self, request: bytes, *, wait: bool) -> None:
        """Sends a serialized `CreateSequenceRequest`."""
        began_s = await self._link.admit_call(wait=wait)
        await self._cloud.create_sequence(request)
        self._link.note_success(began_s)

    def note_refusal(self, found: Found) -> None:
        """Notes that a call with a part of `found` was refused for good; it is sent in smaller calls."""
        self._link.note_refusal(found.version)

    def believes(self, error: CloudError, found: Found, collector: str) -> bool:
        """Notes that something of `found` was refused for good, and returns whether it is to be given up.

        Not if it may be something else than the cloud that refuses it; then the file stays.
        """
        return self._link.judge_refusal(found.version, collector, error)
