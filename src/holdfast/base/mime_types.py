"""The MIME types that RDK has names for, and the file extensions that Viam's cloud uses for them."""

from __future__ import annotations

JPEG = "image/jpeg"
PNG = "image/png"
PCD = "pointcloud/pcd"
WAV = "audio/wav"
MPEG = "audio/mpeg"
MP4 = "video/mp4"
DEPTH = "image/vnd.viam.dep"
RGBA = "image/vnd.viam.rgba"
UNKNOWN = "application/octet-stream"

EXTENSIONS = {
    JPEG: ".jpeg",
    PNG: ".png",
    DEPTH: ".dep",
    RGBA: ".rgba",
    PCD: ".pcd",
    MP4: ".mp4",
    WAV: ".wav",
    MPEG: ".mp3",
}


def extension_of(mime_type: str) -> str:
    """Returns the file extension for a MIME type, with its dot; empty when the type is unknown."""
    return EXTENSIONS.get(mime_type, "")
