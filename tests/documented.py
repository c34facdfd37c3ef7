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

DOCUMENTED_METHODS: list[dict[str, Any]] = [
    {"method": "Readings", "capture_frequency_hz": 0.5, "additional_params": {}},
    {"method": "Readings", "capture_frequency_hz": 1, "disabled": False, "additional_params": {}},
    {"method": "Readings", "capture_frequency_hz": 0.5, "recent_data_store": {"stored_hours": 24}},
    {"method": "Readings", "capture_frequency_hz": 0.2, "retention_policy": {"days": 5}},
    {"method": "Readings", "capture_frequency_hz": 0.2, "cache_size_kb": 10},
    {"method": "ReadImage", "capture_frequency_hz": 1, "additional_params": {"mime_type": "image/jpeg"}},
    {"method": "Analogs", "capture_frequency_hz": 2, "additional_params": {"reader_name": "temp"}},
    {"method": "DoCommand", "capture_frequency_hz": 1, "additional_params": {"docommand_input": {"get": "state"}}},
    {"method": "Position", "capture_frequency_hz": 2, "tags": ["a"], "capture_queue_size": 250},
]
"""The shapes in which the documentation shows an entry of `capture_methods`, there with its resource."""
