"""Knows which cards of Viam's app have no effect here: what is set for capture on components alone.

It asks the machine for its part's id and reads viam-server's copy of the config (`machine_config.CardReader`), some
seconds after the start and then every `AGAIN_S`. Belongs to the event loop; the file is read on a worker thread.
"""

from __future__ import annotations

import asyncio

from google.protobuf.message import DecodeError
from viam.proto.robot import GetCloudMetadataRequest, GetCloudMetadataResponse

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.tasks import begin, supervised
from ..capture.client import UnaryClient
from ..errors import ResourceCallError
from ..machine_config import Card, CardReader, cached_config

FIRST_S = 5.0
AGAIN_S = 60.0
_METADATA = "/viam.robot.v1.RobotService/GetCloudMetadata"
_MOST_BYTES = 64 * 1024
_TIMEOUT_S = 5.0


class Cards:
    """Reads the cards from the first `configure` with a client on. `stop` must be called."""

    def __init__(self, files: FileSystem, clock: Clock) -> None:
        self.without_effect: tuple[Card, ...] = ()
        """As of `read_s`."""
        self.read_s: float | None = None
        """When they were read last, on the monotonic clock; None while they are not known: before the first time,
        and on a machine without a cloud."""
        self._reader = CardReader(files)
        self._clock = clock
        self._client: UnaryClient | None = None
        self._viam_home = ""
        self._reading: asyncio.Task[None] | None = None

    def configure(self, client: UnaryClient | None, viam_home: str) -> None:
        """Sets the client for calls to the machine, and viam-server's folder; empty when that is not known."""
        self._client, self._viam_home = client, viam_home
        if client is not None and self._reading is None:
            self._reading = begin(supervised("the cards", self._run), "holdfast-cards")

    def stop(self) -> None:
        """Reads no more."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def _run(self) -> None:
        await self._clock.sleep(FIRST_S)
        while True:
            await self._read()
            await self._clock.sleep(AGAIN_S)

    async def _read(self) -> None:
        part_id = await _part_id(self._client) if self._client is not None and self._viam_home else ""
        if not part_id or "/" in part_id:
            return
        found = await asyncio.to_thread(self._reader.read, cached_config(self._viam_home, part_id))
        if found is not None:
            self.without_effect, self.read_s = found, self._clock.monotonic()


async def _part_id(client: UnaryClient) -> str:
    """Returns the id of the machine's part; empty when it has none, or can't be asked."""
    request = GetCloudMetadataRequest().SerializeToString()
    try:
        answer = await client.call(_METADATA, request, _TIMEOUT_S, _MOST_BYTES)
        return GetCloudMetadataResponse.FromString(bytes(answer)).machine_part_id
    except (ResourceCallError, DecodeError):
        return ""
