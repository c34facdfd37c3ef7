"""Every error that crosses a layer, as one tree under `HoldfastError`.

Foreign exceptions (gRPC, operating system) are translated at the one module that talks to them: `filesystem`,
`capture.client` and `sync.cloud`. Above these nobody catches `Exception`.
"""

from __future__ import annotations

import errno
import os
from enum import Enum


class HoldfastError(Exception):
    """The root: an error that says what happened, to what, and what happens next."""


class ConfigError(HoldfastError):
    """A config that makes the service meaningless; `attribute` names the culprit."""

    def __init__(self, attribute: str, why: str) -> None:
        super().__init__(f"{attribute}: {why}")
        self.attribute = attribute


class ResourceErrorKind(Enum):
    """Why a call to a resource gave no reading."""

    FILTERED = "filtered"
    """A filter module answered that there is nothing to capture: not a failure."""
    TIMEOUT = "timeout"
    FAILED = "failed"


class ResourceCallError(HoldfastError):
    """A resource did not answer with a reading."""

    def __init__(self, kind: ResourceErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


_REASONS = {
    errno.ENOSPC: "no_space",
    errno.EDQUOT: "no_space",
    errno.EROFS: "read_only",
    errno.EACCES: "no_permission",
    errno.EPERM: "no_permission",
    errno.ENOENT: "no_such_file",
    errno.ENOTDIR: "no_such_file",
    errno.EEXIST: "exists",
    errno.EMFILE: "too_many_open_files",
    errno.ENFILE: "too_many_open_files",
    errno.ENAMETOOLONG: "name_too_long",
}


class StorageError(HoldfastError):
    """The file system refused. `reason` is one word, fit for counting."""

    def __init__(self, action: str, path: str, cause: OSError) -> None:
        reason = cause.strerror or str(cause) or type(cause).__name__
        super().__init__(f"cannot {action} {printable(path)}: {reason}")
        self.path = path
        self.reason = _REASONS.get(cause.errno or 0, "io_error")


class DamagedFileError(HoldfastError):
    """A capture file whose header is not readable: nothing in it can be attributed."""


class NewerStateError(HoldfastError):
    """A state file that a newer version wrote: it is left as it is."""

    def __init__(self, path: str, version: int, known: int) -> None:
        super().__init__(
            f"{printable(path)} is of version {version}, this program knows {known}: update Holdfast, or remove "
            "the file to count anew"
        )


class NotConnectedError(HoldfastError):
    """There is no usable connection to the cloud; the message says why."""


class NotReadyError(HoldfastError):
    """Nothing is taken for sync yet: there is no config, or the folder is not ours; the message says why."""


class CommandError(HoldfastError):
    """A DoCommand that can't be carried out as it was given."""


class NotUploadedError(HoldfastError):
    """An upload that somebody asked for did not come about; the message says why, and what becomes of the data."""


class BusyError(HoldfastError):
    """As much as is possible at once is under way already; later it may be done."""


_CUTS = ("Socket closed", "onnection reset", "Broken pipe", "Stream removed", "GOAWAY", "atchdog")
_OF_ONE_CALL = ("RST_STREAM", "END_STREAM")
"""What gRPC itself says, where a cloud would have given words of its own: of a connection, and of a call on it."""


class CloudError(HoldfastError):
    """The cloud, or the way to it, answered a call with an error.

    `code` is the gRPC status name ("UNAVAILABLE"); `connected` tells whether the connection stood when the
    call failed, which separates a cut link from a cloud that refuses.
    """

    def __init__(self, code: str, message: str, *, connected: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.connected = connected

    @property
    def is_cut(self) -> bool:
        """Whether the connection broke under the call, though it may stand again by now."""
        if any(text in self.message for text in _OF_ONE_CALL):
            return not self.connected
        return not self.connected or any(text in self.message for text in _CUTS)


def printable(path: str) -> str:
    """`path` as valid Unicode: bytes that are not UTF-8 stand as \\xNN, so that logs and protobuf take it."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
