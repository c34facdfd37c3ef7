"""Client-streaming uploads: large payloads, which are read from disk while they are sent.

They use grpcio's synchronous API: if the cloud answers before the stream has ended, the asyncio API replaces that
answer by an INTERNAL error of its own. So streams have their own connections beside those for unary calls. gRPC's
thread takes the messages as fast as the link carries them, and reading them may block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import grpc

from ...errors import CloudError
from . import patience
from .patience import Patience

Metadata = tuple[tuple[str, str], ...]
Messages = Callable[[], Iterator[bytes]]
"""Returns the serialized messages of a stream from its beginning."""


class _CountedMessages:
    """The messages of one stream, as gRPC takes them.

    `asked` counts how often gRPC asked for a message, `answered` how often it got one, the end or an error. `error`
    is what reading them raised. `are_sent` says that gRPC came to their end, which it asks for only when it has
    sent the last one.
    """

    def __init__(self, messages: Iterator[bytes]) -> None:
        self._messages = messages
        self.asked = self.answered = 0
        self.error: Exception | None = None
        self.are_sent = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.asked += 1
        try:
            return next(self._messages)
        except StopIteration:
            self.are_sent = True
            raise
        except Exception as error:
            self.error = error
            raise
        finally:
            self.answered += 1


async def upload(
    channel: grpc.Channel, method: str, messages: Messages, metadata: Metadata, waiting: Patience
) -> bytes | None:
    """Sends a stream. Returns the cloud's answer to all of it; None if that has no message.

    Raises CloudError, or what `messages` raised. Such a CloudError says `connected=True` although the connection
    may be lost: only the caller can find out. An OK that comes before all messages are sent is an error too, since
    the cloud can't have them. When cancelled, the call is cancelled too; the cloud keeps nothing of it, unless it
    had taken all of it and was just answering.
    """
    source = _CountedMessages(messages())
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    opened: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(method)
    call = opened.future(source, metadata=metadata)

    def on_end(_: object) -> None:
        with suppress(RuntimeError):  # the loop was closed already
            loop.call_soon_threadsafe(ended.set)

    call.add_done_callback(on_end)
    try:
        while not ended.is_set():
            before = source.asked
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ended.wait(), patience.LOOK_S)
            moved = source.asked != before or source.asked != source.answered
            if not ended.is_set() and not waiting.look(moved=moved):
                raise CloudError(
                    "DEADLINE_EXCEEDED", "the cloud accepts no data and does not answer", connected=True
                )
    finally:
        call.cancel()
    if source.error is not None:
        raise source.error
    if call.code() is not grpc.StatusCode.OK:
        raise CloudError(call.code().name, call.details() or "no details", connected=True)
    if not source.are_sent:
        raise CloudError("UNKNOWN", "the cloud answered OK before it had all of the upload", connected=True)
    return call.result()
