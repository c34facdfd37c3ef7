"""What an error of the cloud means: the table from gRPC's status codes to verdicts."""

from __future__ import annotations

from enum import Enum

from ...errors import CloudError, LoginError


class Verdict(Enum):
    """What an error of the cloud means for the unit that was sent, and for the link."""

    LINK = "link"
    """The cloud can't be reached: everything waits, and the unit is not to blame."""
    UNWELL = "unwell"
    """The cloud is unavailable. The unit is to blame until another unit fails in the same way; then the link is."""
    LOGIN = "login"
    """The cloud does not accept the login although the token is new: everything waits, and the log says so."""
    QUARANTINE = "quarantine"
    """The cloud will never accept this unit."""
    TOO_LARGE = "too large"
    """The cloud does not accept so much in one call."""
    RETRY = "retry"
    """This unit is tried again later; others continue."""


_BY_CODE = {
    "UNAVAILABLE": Verdict.UNWELL,
    "DEADLINE_EXCEEDED": Verdict.UNWELL,
    "UNAUTHENTICATED": Verdict.LOGIN,
    "PERMISSION_DENIED": Verdict.LOGIN,
    "INVALID_ARGUMENT": Verdict.QUARANTINE,
}
_TOO_LARGE = "larger than max"
"""gRPC's servers, in Go and in C, say this of a message beyond their limit. Their code alone may mean a quota."""


def verdict(error: CloudError) -> Verdict:
    """Returns what `error` means by itself, without the state of the link."""
    if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED") and not error.connected:
        return Verdict.LINK
    if isinstance(error, LoginError) and error.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return Verdict.LOGIN
    if error.code == "RESOURCE_EXHAUSTED" and _TOO_LARGE in error.message.lower():
        return Verdict.TOO_LARGE
    return _BY_CODE.get(error.code, Verdict.RETRY)
