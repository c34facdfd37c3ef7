"""The MIME types that RDK knows by name."""

from __future__ import annotations

JPEG = "image/jpeg"
PNG = "image/png"
PCD = "pointcloud/pcd"
WAV = "audio/wav"
MPEG = "audio/mpeg"
UNKNOWN = "application/octet-stream"
