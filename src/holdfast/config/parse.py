"""The configuration: Viam's attributes, checked and typed.

`parse` refuses (ConfigError) only what makes the service meaningless: at the next boot a refused config would
capture nothing at all. Everything else that is wrong, an entry of `capture_methods` or an unknown attribute, is
left out and becomes a `problem` that names it, its value and the fix. Names, defaults and checks are the builtin's
(services/datamanager/builtin/config.go) where it has the attribute.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import space
from .attributes import CLOUD_SIDE, _Reader, _unknown
from .model import (
    DEFAULT_CLOUD_ADDRESS,
    DEFAULT_SYNC_INTERVAL_MINS,
    DEFAULT_SYNC_THREADS,
    MOST_MS,
    SYNC_ORDERS,
    Config,
)

_SYNC_INTERVAL_EPSILON_MINS = 0.0001


def default_capture_dir(environment: Mapping[str, str]) -> str:
    """Where the builtin captures to when it is not told."""
    home = environment.get("VIAM_HOME") or os.path.join(environment.get("HOME", "/"), ".viam")
    return os.path.join(home, "capture")


def parse(attributes: Mapping[str, Any], environment: Mapping[str, str]) -> Config:
    """Checks `attributes` as they come from a Viam config (numbers are floats).

    Raises ConfigError naming the attribute; see the module's docstring for what becomes a problem instead.
    """
    reader = _Reader(attributes)
    home = environment.get("HOME", "")

    def path(value: str) -> str:
        return os.path.abspath(
            os.path.join(home, value[1:].lstrip("/")) if value.startswith("~") and home else value
        )

    interval_mins = reader.number("sync_interval_mins", 0.0)
    if interval_mins < _SYNC_INTERVAL_EPSILON_MINS:
        interval_mins = DEFAULT_SYNC_INTERVAL_MINS
    capture_dir = path(reader.text("capture_dir", "") or default_capture_dir(environment))
    config = Config(
        capture_dir=capture_dir,
        tags=reader.texts("tags"),
        capture_disabled=reader.flag("capture_disabled"),
        maximum_capture_file_size_bytes=reader.whole("maximum_capture_file_size_bytes", 256 * 1024),
        flush_interval_s=reader.number("capture_flush_interval_ms", 1000.0, most=MOST_MS) / 1000,
        fsync_interval_s=reader.number("capture_fsync_interval_ms", 5000.0, most=MOST_MS) / 1000,
        methods=reader.methods(path),
        off_methods=tuple(reader.off_methods),
        capture_control_sensor=reader.control_sensor(),
        sync_disabled=reader.flag("sync_disabled"),
        sync_interval_s=interval_mins * 60,
        additional_sync_paths=tuple(path(p) for p in reader.texts("additional_sync_paths") if p),
        selective_syncer_name=reader.text("selective_syncer_name", ""),
        file_last_modified_s=reader.number("file_last_modified_millis", 10_000.0) / 1000,
        maximum_num_sync_threads=reader.whole("maximum_num_sync_threads", DEFAULT_SYNC_THREADS),
        sync_bandwidth_limit_bytes_per_sec=reader.number("sync_bandwidth_limit_bytes_per_sec", 0.0),
        sync_order=space.choice(reader, "sync_order", SYNC_ORDERS),
        upload_roots=tuple(path(p) for p in reader.texts("upload_roots") if p),
        cloud_address=reader.text("cloud_address", "") or DEFAULT_CLOUD_ADDRESS,
        allow_plaintext=reader.flag("allow_plaintext"),
        mongo_capture_config=reader.mongo(),
        limits=space.space_limits(reader),
        local_copy=space.copy_settings(reader, _Reader, path),
        in_memory=space.choice(reader, "capture_store", ("disk", "memory")) == "memory",
        memory_dir=space.memory_dir(environment, capture_dir),
    )  # fmt: skip
    if config.local_copy is not None:
        space.refuse_copy_in(
            config.local_copy, (*config.capture_dirs, *config.additional_sync_paths, config.memory_dir)
        )
    return _with_problems(config, reader)


def _with_problems(config: Config, reader: _Reader) -> Config:
    problems = list(reader.problems)
    problems += [_unknown(name, reader.known | CLOUD_SIDE) for name in reader.unknown()]
    return replace(config, problems=tuple(problems))
