"""What a client is told when something fails: the one place that makes gRPC errors.

Their texts are escaped, and short enough for the trailers of an answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TypeVar

from grpclib import GRPCError, Status

from holdfast.base.words import escaped, shortened
from holdfast.errors import BusyError, CommandError, HoldfastError, NotConnectedError, NotReadyError

Result = TypeVar("Result")

_MOST_ERROR_CHARS = 2000
"""The longest error text. It is sent in the trailers of an answer; clients limit these to a few KiB, and end the
connection beyond that."""
_STATUS: Mapping[type[HoldfastError], Status] = {
    CommandError: Status.INVALID_ARGUMENT,
    NotConnectedError: Status.UNAVAILABLE,
    NotReadyError: Status.FAILED_PRECONDITION,
    BusyError: Status.RESOURCE_EXHAUSTED,
}
"""The gRPC status by type of error. Others are ABORTED: a resource or a disk failed to do what was requested."""


async def translated(work: Awaitable[Result]) -> Result:
    """Returns what `work` returns. An error of ours becomes the GRPCError that a client gets.

    What the work had in hand is free then, such as the data of a request: the new error knows nothing of the old
    one, whose traceback would hold it for as long as anybody holds the error.
    """
    try:
        return await work
    except GRPCError as error:
        told = rpc_error(error.status, error.message or "")
    except HoldfastError as error:
        told = rpc_error(_STATUS.get(type(error), Status.ABORTED), str(error))
    raise told


def rpc_error(status: Status, message: str) -> GRPCError:
    """Returns an error for a client, with as much of the message as fits."""
    return GRPCError(status, shortened(escaped(message), _MOST_ERROR_CHARS))
