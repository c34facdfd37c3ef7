"""How full the folders are, and what the limits did: a part of the status. Touches no disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .base.clock import Clock
from .config import WhenFull
from .storage.space.local_copy import LocalCopy
from .storage.store import Store


def space_status(clock: Clock, stores: Iterable[Store], copy: LocalCopy | None) -> dict[str, Any]:
    """What is known of each folder since the last check of its disk."""
    return {
        "folders": [_folder(clock, store) for store in stores],
        "local_copy": None if copy is None else _copy(copy),
    }


def _folder(clock: Clock, store: Store) -> dict[str, Any]:
    space, limits = store.space, store.limits.limits
    growth, lasts_s = space.growth_bytes_per_s, space.lasts_s(limits.most_bytes)
    deleted_at_s = store.limits.deleted_at_s
    return {
        "folder": store.capture_dir,
        "disk_total_bytes": space.usage.total_bytes if space.usage else None,
        "disk_free_bytes": space.usage.free_bytes if space.usage else None,
        "captured_bytes": space.captured_bytes,
        "growth_bytes_per_s": None if growth is None else round(growth, 1),
        "lasts_s": None if lasts_s is None else round(lasts_s),
        "limit_bytes": limits.most_bytes,
        "limit_age_s": limits.most_age_s,
        "when_full": (limits.when_full or WhenFull.THIN).value,
        "failed_bytes": store.limits.quarantine.bytes,
        "failed_limit_bytes": store.limits.most_failed_bytes,
        "deleted_files": space.deleted.files,
        "deleted_bytes": space.deleted.bytes,
        "deleted_readings": space.deleted.readings,
        "last_deletion_age_s": None if deleted_at_s is None else round(clock.monotonic() - deleted_at_s, 1),
    }


def _copy(copy: LocalCopy) -> dict[str, Any]:
    return {
        "folder": copy.settings.folder,
        "bytes": copy.bytes,
        "limit_bytes": copy.settings.most_bytes,
        "limit_age_s": copy.settings.most_age_s,
        "not_kept": copy.failed,
        "last_error": copy.last_error,
    }
