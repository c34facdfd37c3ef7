"""Several connections to one place, for when one is slower than the link.

A receiver takes at most its window in one round trip over one connection, however much the link could carry. So a
further connection is opened when each open one has `BUSY_BYTES` or more under way, at most `MAX_CONNECTIONS`; a
call goes over the one with the least. Where a further one never carried a call it is not used again, and none is
opened behind it: something on the way may permit no more. Belongs to the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from ...errors import CloudError

MAX_CONNECTIONS = 4
BUSY_BYTES = 32 * 1024
"""Half of the window that HTTP/2 begins with, and that some receivers keep: a call may be more than the rest."""

Channel = TypeVar("Channel")


@dataclass
class _Connection(Generic[Channel]):
    channel: Channel
    bytes_under_way: int = 0
    carried: bool = False
    given_up: bool = False


class Connections(Generic[Channel]):
    """`open_channel` makes one more; gRPC connects it when it is first used."""

    def __init__(self, open_channel: Callable[[], Channel]) -> None:
        self._open_channel = open_channel
        self._open = [_Connection(open_channel())]

    @property
    def channels(self) -> list[Channel]:
        """All that were opened, to be closed by whoever gave them."""
        return [each.channel for each in self._open]

    @contextmanager
    def one_for(self, size_bytes: int) -> Iterator[Channel]:
        """A connection for one call of that size, which raises CloudError where it fails."""
        connection = self._pick()
        connection.bytes_under_way += size_bytes
        try:
            yield connection.channel
            connection.carried = True
        except CloudError as error:
            others_carry = any(each.carried for each in self._open)
            connection.given_up |= error.code == "UNAVAILABLE" and not connection.carried and others_carry
            raise
        finally:
            connection.bytes_under_way -= size_bytes

    def _pick(self) -> _Connection[Channel]:
        usable = [each for each in self._open if not each.given_up]
        best = min(usable, key=lambda each: each.bytes_under_way)
        if best.bytes_under_way >= BUSY_BYTES and len(usable) == len(self._open) < MAX_CONNECTIONS:
            best = _Connection(self._open_channel())
            self._open.append(best)
        return best
