"""Every error that crosses a layer, as one tree.

    HoldfastError
        ConfigError
        RequestError
            CommandError
            NotReadyError
            NotConnectedError
            BusyError
            NotUploadedError
                _FailedError (sync.uploads.uploads)
                _RefusedError (sync.uploads.uploads)
            UnreadableConfigError (machine_config.machine)
            NoDataManagerError (machine_config.machine)
            UnknownMachineFileError (adoption.machine_file)
                ConfigOfTheCloudError (adoption.machine_file)
        FileError
            StorageError
            DamagedFileError
            NewerStateError
            StreamError (cli.terminal)
        CallError
            ResourceCallError
                AnswerTooLargeError
                TooManyStepsError (capture.methods.steps)
            CloudError
                LoginError
            MongoError (mongo.target)
        NoDocumentError (mongo.documents)
        NoRecordError (cli.gap_table)

Foreign exceptions become one of these in the one module that talks to their library: those of the operating system
in `base.filesystem`, of gRPC in `capture.client` and `sync.cloud`, and of MongoDB in `mongo.mongo_client`.
`Exception` itself is caught only where ARCHITECTURE.md says so.

Messages hold names as they are. What shows a message escapes it (`base.words.escaped`).
"""

from __future__ import annotations

import errno
import os
from enum import Enum


class HoldfastError(Exception):
    """The root. The message says what happened, to what, and what happens next."""

    remedy: str = ""
    """What a person can do about it. It is empty where the message says so, or where nothing is known."""


class ConfigError(HoldfastError):
    """An attribute of the config that can't be used. `attribute` is its full name.

    It refuses the config, except in an entry of `capture_methods`, where it costs that entry and becomes a problem.
    """

    def __init__(self, attribute: str, why: str) -> None:
        super().__init__(f"{attribute}: {why}")
        self.attribute = attribute


class RequestError(HoldfastError):
    """A user asked for something that can't be done, or can't be done now."""


class CommandError(RequestError):
    """A DoCommand can't be carried out as it was given."""


class NotReadyError(RequestError):
    """Sync and uploads can't start yet: there is no config, or another process has the capture folder. The message
    says which."""


class NotConnectedError(RequestError):
    """There is no usable connection to the cloud. The message says why."""


class BusyError(RequestError):
    """As much is under way already as is allowed at once. The same request may succeed later."""


class NotUploadedError(RequestError):
    """An upload that a user asked for did not succeed. The message says why, and what becomes of the data."""


class FileError(HoldfastError):
    """A file or folder can't be used."""


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


_REMEDIES = {
    "no_space": "free space on this disk, or bound what is captured (docs/disks.md)",
    "read_only": "find out why the disk is read-only, which dmesg may say, and mount it writable",
    "no_permission": "let viam-server's user write there (chown), or set another capture_dir",
    "no_such_file": "see to it that each part of the path is a folder, and that nothing removes it",
    "too_many_open_files": "raise LimitNOFILE in the unit of viam-server",
    "name_too_long": "set a capture_dir with a shorter path",
}
_REMEDY_OF_IO = "look what dmesg says of this disk; it may have to be replaced"


class StorageError(FileError):
    """The file system refused an operation on `path`. `reason` is one word by which such errors are counted."""

    def __init__(self, action: str, path: str, cause: OSError) -> None:
        reason = cause.strerror or str(cause) or type(cause).__name__
        super().__init__(f"cannot {action} {path}: {reason}")
        self.path = path
        number = cause.errno or 0
        self.reason = _REASONS.get(number, "io_error")
        self.remedy = _REMEDY_OF_IO if number == errno.EIO else ""
        if reason == os.strerror(number):  # the operating system's words, not those of Holdfast
            self.remedy = self.remedy or _REMEDIES.get(self.reason, "")


class DamagedFileError(FileError):
    """A file can be read, but what it holds, or its header, makes no sense."""


class NewerStateError(FileError):
    """A newer version of Holdfast wrote this state file. It is neither used nor overwritten."""

    def __init__(self, path: str, version: int, known: int) -> None:
        super().__init__(
            f"{path} is of version {version}, and this program reads up to version {known}: update "
            "Holdfast, or remove the file and lose what is in it"
        )


class CallError(HoldfastError):
    """A call to another process failed: to a resource, to the cloud, or to MongoDB."""


class ResourceErrorKind(Enum):
    """Why a call to a resource gave no reading."""

    FILTERED = "filtered"
    """A filter module answered that there is nothing to capture. This is not a failure."""
    TIMEOUT = "timeout"
    FAILED = "failed"


class ResourceCallError(CallError):
    """A resource did not answer with a reading."""

    def __init__(self, kind: ResourceErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class AnswerTooLargeError(ResourceCallError):
    """An answer is larger than its call allowed: it has at least `size_bytes`. It was refused unread."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(ResourceErrorKind.FAILED, f"the answer has {size_bytes} bytes, more than its call allows")
        self.size_bytes = size_bytes


_CUTS = ("Socket closed", "onnection reset", "Broken pipe", "Stream removed", "GOAWAY", "atchdog")
"""Parts of gRPC's own messages, as opposed to the cloud's, when a connection breaks."""
_ENDS_OF_ONE_CALL = ("RST_STREAM", "END_STREAM", "Error parsing")
"""Parts of gRPC's own messages when one call on a connection ends, and the connection stands."""


class CloudError(CallError):
    """The cloud, or the way to it, answered a call with an error.

    `code` is the gRPC status name ("UNAVAILABLE"). `connected` tells whether the connection stood when the call
    failed, which separates a cut link from a cloud that refuses.
    """

    def __init__(self, code: str, message: str, *, connected: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.connected = connected

    @property
    def is_cut(self) -> bool:
        """Whether the connection broke during the call, even if it has been restored since."""
        if any(text in self.message for text in _ENDS_OF_ONE_CALL):
            return not self.connected
        return not self.connected or any(text in self.message for text in _CUTS)


class LoginError(CloudError):
    """The cloud's answer to the login can't be used, or a token could not be renewed. What was to be sent is not to
    blame, whatever the code says."""
