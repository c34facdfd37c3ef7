"""The bound on the memory that large answers on their way take together, such as images.

The size of an answer is known when its first bytes have come (`large_call`). The rest waits at viam-server until
there is memory for it, so the sum is bounded whatever the answers are, and none has to be refused for it. A
collector that had a large answer lets no further call leave while there is no memory for another one like it.

Runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from ..base.words import size
from ..errors import ResourceCallError, ResourceErrorKind

MAX_BYTES = 128 * 1024 * 1024
SMALL_BYTES = 64 * 1024
"""Answers of up to this size are not counted: each collector has only a few of them."""


class AnswerMemory:
    """What all answers on their way take together. Shared by all collectors."""

    def __init__(self) -> None:
        self.taken_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def has_room_for(self, size_bytes: int) -> bool:
        """Returns whether an answer of `size_bytes` has not to wait. One that is alone never has."""
        return size_bytes <= SMALL_BYTES or (not self._waiting and self.fits(size_bytes))

    async def take(self, size_bytes: int) -> None:
        """Counts an answer, as soon as there is memory for it; who came first is first. When cancelled, it is not
        counted."""
        if not self._waiting and self.fits(size_bytes):
            self.taken_bytes += size_bytes
            return
        turn = (size_bytes, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            await turn[1]
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._waiting.remove(turn)
            if turn[1].done() and not turn[1].cancelled():
                self.give_back(size_bytes)
            else:
                self._admit()
            raise

    def give_back(self, size_bytes: int) -> None:
        """Ends what `take` began, when the answer has been stored or given up."""
        self.taken_bytes -= size_bytes
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.fits(self._waiting[0][0]):
            size_bytes, admitted = self._waiting.popleft()
            if not admitted.done():
                self.taken_bytes += size_bytes
                admitted.set_result(None)

    def fits(self, size_bytes: int) -> bool:
        """Returns whether there is memory for an answer. There always is for one that is alone."""
        return not self.taken_bytes or self.taken_bytes + size_bytes <= MAX_BYTES


class Room:
    """The memory of the answer to one call, which may have up to `most_bytes`. `end` must be called.

    `expected_bytes` is what the answer will have, as far as can be said beforehand.
    """

    def __init__(self, memory: AnswerMemory, most_bytes: int, expected_bytes: int = 0) -> None:
        self.most_bytes = most_bytes
        self.expected_bytes = expected_bytes
        self.size_bytes = 0
        """The size of the answer as far as it is known."""
        self.is_waiting = False
        self._memory = memory
        self._counted_bytes = 0

    async def take(self, size_bytes: int) -> None:
        """Returns when there is memory for `size_bytes` more. Raises ResourceCallError if the answer may not have
        that much."""
        more_bytes = self._more_bytes(size_bytes)
        if more_bytes:
            self.is_waiting = True
            await self._memory.take(more_bytes)
            self._counted_bytes += more_bytes
        self.is_waiting = False

    def take_now(self, size_bytes: int) -> None:
        """Does the same for what has come already, and raises ResourceCallError too if there is no memory now."""
        more_bytes = self._more_bytes(size_bytes)
        if more_bytes and not self._memory.fits(more_bytes):  # whoever waits has not got his answer yet
            raise self.no_memory()
        self._count(more_bytes)

    def came(self, size_bytes: int) -> None:
        """Counts an answer that has come already, whether there is memory for it or not."""
        self._count(self._more_bytes(size_bytes))

    def demand(self, size_bytes: int) -> None:
        """Raises ResourceCallError if the answer may not have `size_bytes`."""
        if size_bytes > self.most_bytes:
            raise _refused(f"the answer is larger than {size(self.most_bytes)}, the most that is taken of one")

    def no_memory(self) -> ResourceCallError:
        """Returns the error of an answer for which there was no memory in time."""
        return _refused(f"there is no memory for an answer of {size(self.size_bytes)} beside those on their way")

    def end(self) -> None:
        """Gives the memory back when the answer has been stored or given up."""
        self._memory.give_back(self._counted_bytes)

    def _count(self, more_bytes: int) -> None:
        self._memory.taken_bytes += more_bytes
        self._counted_bytes += more_bytes

    def _more_bytes(self, size_bytes: int) -> int:
        """Adds to the size of the answer, and returns how much of it is to be counted now."""
        self.size_bytes += size_bytes
        self.demand(self.size_bytes)
        return self.size_bytes - self._counted_bytes if self.size_bytes > SMALL_BYTES else 0


def _refused(why: str) -> ResourceCallError:
    return ResourceCallError(ResourceErrorKind.FAILED, why)
