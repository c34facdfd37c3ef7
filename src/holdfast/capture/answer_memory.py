"""The bound on the memory that large answers on their way take together, such as images.

gRPC holds a whole answer before this process sees any of it. So each call says beforehand how large its answer may
be, and a larger one is refused before it is in memory. That much is counted while the call lasts, so the sum is
bounded whatever the answers are. Runs on the event loop.

- `AnswerMemory` is the sum. Answers of up to `SMALL_BYTES` are not counted: each collector has only a few of them.
- `Room` is what one call has. If its answer turns out to be larger, it is widened, if there is room, and the call
  is made again.
- `ExpectedSize` is what a collector asks for beforehand: it follows the answers that came.
"""

from __future__ import annotations

from bisect import bisect_left

from ..base.words import size
from ..errors import ResourceCallError, ResourceErrorKind
from .methods.method import MAX_BINARY_BYTES

_MIB = 1024 * 1024
MAX_BYTES = 128 * _MIB
SMALL_BYTES = 64 * 1024
SIZES_BYTES = (SMALL_BYTES, 8 * SMALL_BYTES, _MIB, 2 * _MIB, 4 * _MIB, 8 * _MIB, 16 * _MIB, MAX_BINARY_BYTES)
"""The sizes that a room may have. There are few, since the client keeps a connection for each."""


class AnswerMemory:
    """What all answers on their way may have together. Shared by all collectors."""

    __slots__ = ("_taken_bytes",)

    def __init__(self) -> None:
        self._taken_bytes = 0

    def has_room_for(self, size_bytes: int) -> bool:
        """Returns whether one more call may leave whose answer may have `size_bytes`.

        One that is alone always may.
        """
        return not self._taken_bytes or self._taken_bytes + _counted(size_bytes) <= MAX_BYTES

    def take(self, size_bytes: int) -> None:
        """Counts the answer of a call that leaves."""
        self._taken_bytes += _counted(size_bytes)

    def give_back(self, size_bytes: int) -> None:
        """Ends what `take` began, with the same size, when the answer has been stored or given up."""
        self._taken_bytes -= _counted(size_bytes)


class Room:
    """How large the answer of one call may be: `size_bytes`. `end` must be called.

    It is never widened beyond `most_bytes`. `needed_bytes` is what the answer has or would have had; 0 if unknown.
    """

    __slots__ = ("_memory", "_most_bytes", "needed_bytes", "size_bytes")

    def __init__(self, memory: AnswerMemory, size_bytes: int, most_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.needed_bytes = 0
        self._memory = memory
        self._most_bytes = most_bytes
        memory.take(size_bytes)

    def widen(self, needed_bytes: int) -> None:
        """Makes room for an answer of `needed_bytes`. Raises ResourceCallError when there is none."""
        if needed_bytes > self._most_bytes:
            raise _refused(f"the answer is larger than {size(self._most_bytes)}, the most that is taken of one")
        self.needed_bytes = needed_bytes
        self._memory.give_back(self.size_bytes)
        wider_bytes = _size_for(_with_room_to_grow(needed_bytes))
        if not self._memory.has_room_for(wider_bytes):
            self._memory.take(self.size_bytes)
            raise _refused(f"there is no memory for an answer of {size(needed_bytes)} beside those on their way")
        self.size_bytes = wider_bytes
        self._memory.take(wider_bytes)

    def end(self) -> None:
        """Gives the room back when the answer has been stored or given up."""
        self._memory.give_back(self.size_bytes)


class ExpectedSize:
    """The size that the next answer of a collector may have, with some room to grow."""

    __slots__ = ("size_bytes",)

    def __init__(self) -> None:
        self.size_bytes = SMALL_BYTES

    def came(self, answer_bytes: int) -> None:
        """Follows an answer that came, or that was refused: upwards at once, downwards step by step."""
        self.size_bytes = _size_for(max(_with_room_to_grow(answer_bytes), self.size_bytes // 8))


def _counted(size_bytes: int) -> int:
    return size_bytes if size_bytes > SMALL_BYTES else 0


def _size_for(answer_bytes: int) -> int:
    return SIZES_BYTES[min(bisect_left(SIZES_BYTES, answer_bytes), len(SIZES_BYTES) - 1)]


def _with_room_to_grow(answer_bytes: int) -> int:
    return answer_bytes * 5 // 4


def _refused(why: str) -> ResourceCallError:
    return ResourceCallError(ResourceErrorKind.FAILED, why)
