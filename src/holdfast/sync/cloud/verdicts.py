"""From an error of the cloud to what it means, for the codes that gRPC has."""

from __future__ import annotations

from enum import Enum

from ...errors import CloudError


class Verdict(Enum):
    LINK = "link"
    """There is no way to the cloud: everything waits, nothing is held against the unit."""
    UNWELL = "unwell"
    """The cloud can't right now: the unit's fault until another unit fails the same way, then the link's."""
    LOGIN = "login"
    """The cloud does not let us in, though the token is new: everything waits, loudly."""
    QUARANTINE = "quarantine"
    """The cloud will never take this unit."""
    TOO_LARGE = "too large"
    """The cloud does not take so much in one call."""
    RETRY = "retry"
    """This unit again later, the others go on."""


_BY_CODE = {
    "UNAVAILABLE": Verdict.UNWELL,
    "DEADLINE_EXCEEDED": Verdict.UNWELL,
    "UNAUTHENTICATED": Verdict.LOGIN,
    "PERMISSION_DENIED": Verdict.LOGIN,
    "INVALID_ARGUMENT": Verdict.QUARANTINE,
}
_TOO_LARGE = "larger than max"
"""What gRPC's servers, in Go as in C, say of a message beyond their limit: the code alone may mean a quota."""


def verdict(error: CloudError) -> Verdict:
    if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED") and not error.connected:
        return Verdict.LINK
    if error.code == "RESOURCE_EXHAUSTED" and _TOO_LARGE in error.message.lower():
        return Verdict.TOO_LARGE
    return _BY_CODE.get(error.code, Verdict.RETRY)
