"""The attributes about space: limits, what is deleted first, memory mode, the local copy.

For an attribute that the builtin has, the name, the default and the checks are the builtin's.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from enum import Enum

from ..base.filesystem import is_in
from ..base.words import shown
from ..errors import ConfigError
from .attributes import Attributes
from .host import Host

DEFAULT_PRIORITY = 5
HIGHEST_PRIORITY = 9
MEMORY_LIMIT_BYTES = 64 * 1024 * 1024
FAILED_SHARE_OF_MEMORY = 0.25
"""How much quarantine may take in memory mode, as a share of the limit and in addition to it."""
DEFAULT_COPY_BYTES = 1024 * 1024 * 1024
_TMPFS = "/dev/shm"
_HOUR_S = 3600.0
_LEAST_BYTES = 64 * 1024
"""The least of a limit of space: less is a number of megabytes or gigabytes, by its looks."""
_LEAST_HOURS, _MOST_HOURS = 0.01, 1_000_000.0
_MOST_NTH = 1_000


class WhenFull(Enum):
    """Which complete capture files are deleted first at a limit, among those of the lowest priority."""

    THIN = "thin"
    """Every nth file, as the builtin does: what remains still covers the whole time."""
    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"


@dataclass(frozen=True)
class SpaceLimits:
    """The limits at which capture files are deleted to free space."""

    every_nth: int = 5
    disk_usage: float = 0.9
    """Files are deleted when at least this share of the file system is in use…"""
    capture_dir_share: float = 0.5
    """…and our folders take up at least this share of it."""
    most_bytes: int | None = None
    most_age_s: float | None = None
    when_full: WhenFull | None = None
    """None for the default: thin on a disk, drop_oldest in memory."""


@dataclass(frozen=True)
class CopySettings:
    """The folder that keeps copies of delivered files, and its limits."""

    folder: str
    most_bytes: int = DEFAULT_COPY_BYTES
    most_age_s: float | None = None


def space_limits(attributes: Attributes) -> SpaceLimits:
    """Returns the limits of the capture folder. A limit that can't be meant deletes nothing. Raises ConfigError."""
    when_full = attributes.choice("when_full", ("", *(policy.value for policy in WhenFull)))
    return SpaceLimits(
        every_nth=attributes.whole("delete_every_nth_when_disk_full", 5, most=_MOST_NTH),
        disk_usage=attributes.share("disk_usage_deletion_threshold", 0.9),
        capture_dir_share=attributes.share("capture_dir_deletion_threshold", 0.5),
        most_bytes=attributes.whole("capture_dir_limit_bytes", 0, least=_LEAST_BYTES, nearest=False) or None,
        most_age_s=_hours(attributes, "capture_dir_limit_age_hours", nearest=False),
        when_full=WhenFull(when_full) if when_full else None,
    )


def _hours(attributes: Attributes, name: str, *, nearest: bool = True) -> float | None:
    """Returns an age in seconds; None if there is no limit."""
    found = attributes.number(name, 0.0, least=_LEAST_HOURS, most=_MOST_HOURS, nearest=nearest)
    return found * _HOUR_S or None


def priority(entry: Attributes) -> int:
    """Returns the priority of a capture method. Raises ConfigError."""
    value = entry.raw("priority")
    if value is None:
        return DEFAULT_PRIORITY
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value not in range(HIGHEST_PRIORITY + 1):
        raise entry.error("priority", f"must be a whole number from 0 to {HIGHEST_PRIORITY}, not {shown(value)}")
    return int(value)


def copy_settings(attributes: Attributes) -> CopySettings | None:
    """Returns None when no local copy is configured, or when it can't be known where. Raises ConfigError."""
    local_copy = attributes.nested("local_copy")
    if local_copy.is_empty:
        return None
    if not local_copy.text("dir"):
        raise local_copy.error("dir", "is missing; it names the folder that keeps what was delivered")
    settings = CopySettings(
        local_copy.path("dir", "no copies are kept"),
        most_bytes=local_copy.whole("max_bytes", DEFAULT_COPY_BYTES, least=_LEAST_BYTES),
        most_age_s=_hours(local_copy, "max_age_hours"),
    )
    local_copy.report_unknown()
    return settings if settings.folder else None


def refuse_copy_in(settings: CopySettings, synced: tuple[str, ...]) -> None:
    """Raises ConfigError when the local copy and a synced folder lie inside each other.

    A copy in a synced folder would be sent again and deleted. A synced folder in the copy would lose to the copy's
    limits what was not sent yet.
    """
    for folder in synced:
        if overlaps(settings, folder):
            raise ConfigError(
                "local_copy.dir", f"{settings.folder} and the sync path {folder} must not lie inside each other"
            )


def overlaps(settings: CopySettings, folder: str) -> bool:
    """Tells whether the local copy and a folder lie inside each other."""
    return is_in(settings.folder, folder) or is_in(folder, settings.folder)


def memory_dir(host: Host, capture_dir: str) -> str:
    """Returns the folder in memory that takes the place of `capture_dir`.

    It is the same at each start of a machine's module, and differs between users, machines and capture folders.
    """
    machine = "\0".join((host.part_id, host.home, capture_dir))
    name = hashlib.sha256(machine.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return os.path.join(_TMPFS, f"holdfast-{os.getuid()}-{name}")
