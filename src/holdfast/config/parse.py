"""From the attributes of the service to a checked `Config`.

A config is refused only for what makes the service meaningless, since at the next boot a service with a refused
config would capture nothing at all. Whatever else is wrong, such as an entry of `capture_methods` or an unknown
attribute, is left out and becomes a problem, which names it, its value and the fix. For an attribute that the
builtin has, the name, the default and the checks are the builtin's (services/datamanager/builtin/config.go).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import ConfigError
from .attributes import CLOUD_SIDE, Attributes
from .capture_entry import names_in_entry
from .capture_methods import capture_methods
from .cloud_address import endpoint
from .former_folders import former_folders
from .host import Host, UnknownPathError
from .model import (
    DEFAULT_CLOUD_ADDRESS,
    DEFAULT_SYNC_INTERVAL_MINS,
    DEFAULT_SYNC_THREADS,
    MOST_MS,
    SYNC_ORDERS,
    Card,
    Config,
    ControlSensorConfig,
)
from .mongo import mongo_settings
from .space import copy_settings, memory_dir, refuse_copy_in, space_limits

ADDITIONAL_PATHS = "additional_sync_paths"
ADOPT = "adopt_component_settings"
_LEAST_SYNC_INTERVAL_MINS, _MOST_SYNC_INTERVAL_MINS = 0.0001, 43_200.0
_LEAST_FSYNC_MS = 10.0
_MOST_CAPTURE_FILE_BYTES = 1024 * 1024 * 1024
_MOST_MODIFIED_MS = 2_592_000_000.0
"""30 days, as is the longest interval of sync."""
_MOST_SYNC_THREADS = 1_000
_LEAST_BANDWIDTH = 1_000.0
"""With less, a call of a mebibyte takes more than a quarter of an hour."""


def parse(attributes: Mapping[str, Any], host: Host, cards: Sequence[Card] = ()) -> Config:
    """Checks the service's attributes and returns what they and the cards mean on this host.

    Raises ConfigError, which names the attribute. The module's docstring says what becomes a problem instead.
    """
    found = Attributes(attributes, host)
    capture_dir = _capture_dir(found, host)
    adopt = found.flag(ADOPT, default=True)
    local_copy = copy_settings(found)
    methods, off_methods = capture_methods(found, cards if adopt else (), local_copy)
    config = Config(
        capture_dir=capture_dir,
        tags=found.tags("tags"),
        capture_disabled=found.flag("capture_disabled"),
        maximum_capture_file_size_bytes=found.whole(
            "maximum_capture_file_size_bytes", 256 * 1024, most=_MOST_CAPTURE_FILE_BYTES
        ),
        flush_interval_s=found.number("capture_flush_interval_ms", 1000.0, least=1, most=MOST_MS) / 1000,
        fsync_interval_s=found.number("capture_fsync_interval_ms", 5000.0, least=_LEAST_FSYNC_MS, most=MOST_MS)
        / 1000,
        adopt_component_settings=adopt,
        methods=methods,
        off_methods=off_methods,
        capture_control_sensor=_control_sensor(found),
        sync_disabled=found.flag("sync_disabled"),
        sync_interval_s=_sync_interval_mins(found) * 60,
        additional_sync_paths=found.paths(ADDITIONAL_PATHS, "nothing is synced from there", synced=True) or (),
        selective_syncer_name=found.text("selective_syncer_name"),
        file_last_modified_s=found.number("file_last_modified_millis", 10_000.0, least=1, most=_MOST_MODIFIED_MS)
        / 1000,
        maximum_num_sync_threads=found.whole(
            "maximum_num_sync_threads", DEFAULT_SYNC_THREADS, most=_MOST_SYNC_THREADS
        ),
        sync_bandwidth_limit_bytes_per_sec=found.number(
            "sync_bandwidth_limit_bytes_per_sec", 0.0, least=_LEAST_BANDWIDTH
        ),
        sync_order=found.choice("sync_order", SYNC_ORDERS),
        upload_roots=found.paths("upload_roots", "no command may upload anything from there"),
        cloud_address=_cloud_address(found),
        allow_plaintext=found.flag("allow_plaintext"),
        mongo_capture_config=mongo_settings(found),
        limits=space_limits(found),
        local_copy=local_copy,
        in_memory=found.choice("capture_store", ("disk", "memory")) == "memory",
        memory_dir=memory_dir(host, capture_dir),
        protected=host.protected,
    )
    if config.local_copy is not None:
        synced = (*config.capture_dirs, *config.additional_sync_paths, config.memory_dir)
        refuse_copy_in(config.local_copy, synced)
    found.accept(CLOUD_SIDE)
    found.report_unknown(names_in_entry(found), "an entry of capture_methods")
    return replace(
        config,
        paths=tuple(found.found_paths),
        former_folders=former_folders(host, found.found_paths, capture_dir),
        problems=tuple(found.problems),
    )


def adopts(attributes: Mapping[str, Any]) -> bool:
    """Tells whether a service with these attributes captures what components say, too. It does where the attribute
    can't be used, which `parse` refuses."""
    return Attributes(attributes, Host()).raw(ADOPT) is not False


def _sync_interval_mins(attributes: Attributes) -> float:
    """Returns the interval. Below the minimum it is the default, as in the builtin."""
    name, least, most = "sync_interval_mins", _LEAST_SYNC_INTERVAL_MINS, _MOST_SYNC_INTERVAL_MINS
    is_long = attributes.unbounded(name) > most
    return attributes.number(name, DEFAULT_SYNC_INTERVAL_MINS, least=least, most=most, nearest=is_long)


def _cloud_address(attributes: Attributes) -> str:
    """Returns the address, which is no other one when it can't be used: data must not go where nobody meant it."""
    address = attributes.text("cloud_address").strip() or DEFAULT_CLOUD_ADDRESS
    try:
        endpoint(address, allow_plaintext=attributes.flag("allow_plaintext"))
    except ConfigError as error:
        attributes.problems.append(f"{error}. Until then nothing is sent")
    return address


def _control_sensor(attributes: Attributes) -> ControlSensorConfig | None:
    """Returns None when no sensor is configured, or when its name or key is missing, which is a problem."""
    sensor = attributes.nested("capture_control_sensor")
    name, key = sensor.text("name"), sensor.text("key")
    sensor.accept(CLOUD_SIDE)
    sensor.report_unknown()
    if name and not key:
        sensor.add_problem("key", f"is missing; without it the sensor {name!r} has no effect")
    if key and not name:
        sensor.add_problem("name", f"is missing; without it the key {key!r} has no effect")
    return ControlSensorConfig(name, key) if name and key else None


def _capture_dir(attributes: Attributes, host: Host) -> str:
    """Returns the folder for captured data, which is the builtin's default if the attribute names none.

    Without a HOME and a working folder that are known, that is where the builtin captures in a system service that
    has neither, since such a service is started in `/`.
    """
    name, default = "capture_dir", host.default_capture_dir
    try:
        default = host.resolve(default)
    except UnknownPathError as unknown:
        default = os.path.join("/", default)
        if not attributes.text(name):
            attributes.add_problem(
                name,
                f"the default is {host.default_capture_dir}; {unknown}; captured data is kept in {default}; "
                "write an absolute path",
            )
    return attributes.path(name, f"captured data is kept in {default}", default, synced=True)
