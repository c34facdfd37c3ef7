"""What a configuration says of space: limits, what goes first, memory mode, the local copy.

Part of `config`: values are checked as there, and the builtin's attributes have its names, defaults and checks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ..base.filesystem import is_in
from ..base.words import shown
from ..errors import ConfigError
from .attributes import Attributes

DEFAULT_PRIORITY = 5
HIGHEST_PRIORITY = 9
MEMORY_LIMIT_BYTES = 64 * 1024 * 1024
FAILED_SHARE_OF_MEMORY = 0.25
"""Of the limit in memory, what may lie in quarantine beside it."""
DEFAULT_COPY_BYTES = 1024 * 1024 * 1024
_TMPFS = "/dev/shm"
_HOUR_S = 3600.0


class WhenFull(Enum):
    """Which complete capture files go first at a limit, those of the lowest priority before all others."""

    THIN = "thin"
    """Every nth, as the builtin does: less of everything, from the beginning to the end."""
    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"


@dataclass(frozen=True)
class SpaceLimits:
    """When capture files are deleted to free space."""

    every_nth: int = 5
    disk_usage: float = 0.9
    """The share of the file system that is in use, from which on something has to go…"""
    capture_dir_share: float = 0.5
    """…if our folders take up this share of it."""
    most_bytes: int | None = None
    most_age_s: float | None = None
    when_full: WhenFull | None = None
    """None for what fits the place: thin on a disk, drop_oldest in memory."""


@dataclass(frozen=True)
class CopySettings:
    """Where delivered files are kept, and how much of them."""

    folder: str
    most_bytes: int = DEFAULT_COPY_BYTES
    most_age_s: float | None = None


def space_limits(attributes: Attributes) -> SpaceLimits:
    when_full = attributes.choice("when_full", ("", *(policy.value for policy in WhenFull)))
    return SpaceLimits(
        every_nth=attributes.whole("delete_every_nth_when_disk_full", 5),
        disk_usage=attributes.number("disk_usage_deletion_threshold", 0.9),
        capture_dir_share=attributes.number("capture_dir_deletion_threshold", 0.5),
        most_bytes=attributes.whole("capture_dir_limit_bytes", 0) or None,
        most_age_s=attributes.number("capture_dir_limit_age_hours", 0.0) * _HOUR_S or None,
        when_full=WhenFull(when_full) if when_full else None,
    )


def priority(entry: Attributes) -> int:
    """The priority of a capture method."""
    value = entry.raw("priority")
    if value is None:
        return DEFAULT_PRIORITY
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value not in range(HIGHEST_PRIORITY + 1):
        raise entry.error("priority", f"must be a whole number from 0 to {HIGHEST_PRIORITY}, not {shown(value)}")
    return int(value)


def copy_settings(attributes: Attributes) -> CopySettings | None:
    local_copy = attributes.nested("local_copy")
    if local_copy.is_empty:
        return None
    folder = local_copy.path("dir")
    if not folder:
        raise local_copy.error("dir", "is missing: the folder that keeps what was delivered")
    settings = CopySettings(
        folder,
        most_age_s=local_copy.number("max_age_hours", 0.0) * _HOUR_S or None,
        most_bytes=local_copy.whole("max_bytes", DEFAULT_COPY_BYTES),
    )
    local_copy.report_unknown()
    return settings


def refuse_copy_in(settings: CopySettings, synced: tuple[str, ...]) -> None:
    """What lies in a sync path would be sent again, and deleted; a sync path in it would lose what is not sent."""
    for folder in synced:
        if is_in(settings.folder, folder) or is_in(folder, settings.folder):
            raise ConfigError(
                "local_copy.dir", f"{settings.folder} and the sync path {folder} must not hold each other"
            )


def memory_dir(environment: Mapping[str, str], capture_dir: str) -> str:
    """The folder in memory that stands for `capture_dir`: the same for each start of this machine's module, and
    another for another user, machine or folder."""
    machine = "\0".join((environment.get("VIAM_MACHINE_PART_ID", ""), environment.get("HOME", ""), capture_dir))
    name = hashlib.sha256(machine.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return os.path.join(_TMPFS, f"holdfast-{os.getuid()}-{name}")
