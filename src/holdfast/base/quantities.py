"""Sizes and times in words, for logs."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def size(size_bytes: float) -> str:
    """As "17 bytes" or "3.1 MiB"."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f} bytes"
    for unit in _UNITS:
        size_bytes /= 1024
        if size_bytes < 1000 or unit == _UNITS[-1]:
            break
    return f"{size_bytes:.1f} {unit}" if size_bytes < 100 else f"{size_bytes:.0f} {unit}"


def duration(seconds: float) -> str:
    """As "17 s", "3 min", "2.5 h" or "4 days"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"
