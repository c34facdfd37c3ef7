"""Several connections to one server, since one connection may be slower than the link.

Over one connection, a receiver accepts at most its window in one round trip, whatever the link could carry. So a
further connection is opened when each open one has `BUSY_BYTES` or more under way. A call uses the connection with
the fewest bytes under way. If a further connection fails before it has carried a call, it is not used again, and no
more are opened: something on the way may not permit them.

Runs on the event loop. Bound: `MAX_CONNECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from ...errors import CloudError

MAX_CONNECTIONS = 4
BUSY_BYTES = 32 * 1024
"""Half of HTTP/2's initial window, which some receivers keep: a further call may not fit into the other half."""

Channel = TypeVar("Channel")


@dataclass
class _Connection(Generic[Channel]):
    channel: Channel
    bytes_under_way: int = 0
    carried: bool = False
    """Whether a call over it has succeeded."""
    given_up: bool = False


class Connections(Generic[Channel]):
    """A pool of channels, one for each connection.

    `open_channel` creates one more; gRPC connects it when it is first used. The caller closes `channels`.
    """

    def __init__(self, open_channel: Callable[[], Channel]) -> None:
        self._open_channel = open_channel
        self._open = [_Connection(open_channel())]

    @property
    def channels(self) -> list[Channel]:
        """All channels that were opened, the first one first."""
        return [each.channel for each in self._open]

    @contextmanager
    def one_for(self, size_bytes: int) -> Iterator[Channel]:
        """Yields the channel to use for one call of that size. The call must raise CloudError if it fails."""
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
