"""What the cloud answers, and what gRPC says of an answer that it could not read.

An OK is a delivery only with a message of the kind that belongs to the call: a proxy that knows nothing of uploads
also says OK. When gRPC gives up an answer that is beyond our bounds (`channels`), it calls that RESOURCE_EXHAUSTED,
as the cloud calls a request that is too large; that is not the cloud's word.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError, Message
from viam.proto.app.data import CreateSequenceResponse
from viam.proto.app.datasync import (
    DataCaptureUploadResponse,
    FileUploadResponse,
    StreamingDataCaptureUploadResponse,
)
from viam.proto.rpc.auth import AuthenticateResponse

from ...errors import CloudError

_DATA_SYNC = "/viam.app.datasync.v1.DataSyncService/"
AUTHENTICATE: Final = "/proto.rpc.v1.AuthService/Authenticate"
CAPTURE_UPLOAD: Final = _DATA_SYNC + "DataCaptureUpload"
STREAMED_UPLOAD: Final = _DATA_SYNC + "StreamingDataCaptureUpload"
FILE_UPLOAD: Final = _DATA_SYNC + "FileUpload"
CREATE_SEQUENCE: Final = "/viam.app.data.v1.DataService/CreateSequence"

_KINDS: dict[str, type[Message]] = {
    AUTHENTICATE: AuthenticateResponse,
    CAPTURE_UPLOAD: DataCaptureUploadResponse,
    STREAMED_UPLOAD: StreamingDataCaptureUploadResponse,
    FILE_UPLOAD: FileUploadResponse,
    CREATE_SEQUENCE: CreateSequenceResponse,
}
_NOT_READ = (
    "CLIENT: Received message larger than max",
    "Decompressed message larger than max",
    "metadata size exceeds",
)
"""Parts of what gRPC says of an answer that it has not read."""


def checked(method: str, answer: bytes | None) -> bytes:
    """Returns the message of an OK. Raises CloudError if there is none, or one of another kind."""
    if answer is None:
        raise CloudError("UNKNOWN", "the cloud answered OK without a message", connected=True)
    try:
        _KINDS[method].FromString(answer)
    except DecodeError as error:
        raise CloudError("UNKNOWN", "the cloud's answer can't be understood", connected=True) from error
    return answer


def own_words(code: str, details: str) -> tuple[str, str]:
    """Returns gRPC's code and text of an error; those of an answer that gRPC has not read become our own."""
    if code == "RESOURCE_EXHAUSTED" and any(text in details for text in _NOT_READ):
        return "UNKNOWN", "the cloud's answer is larger than any that is read"
    return code, details
