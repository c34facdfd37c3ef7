"""The sample configurations of a data manager in Viam's documentation, as they are."""

from __future__ import annotations

from typing import Any

DOCUMENTED: list[dict[str, Any]] = [
    {
        "sync_interval_mins": 1,
        "capture_dir": "",
        "tags": [],
        "capture_disabled": False,
        "sync_disabled": True,
        "delete_data_on_part_deletion": True,
        "delete_every_nth_when_disk_full": 5,
        "maximum_num_sync_threads": 250,
    },
    {"capture_dir": "", "tags": [], "additional_sync_paths": [], "sync_interval_mins": 3},
]
