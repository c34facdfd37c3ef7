"""Where captured data is kept, and by which rules: from a configuration to its folders.

Memory mode: `capture_dir` stands in a folder of Linux's tmpfs, private to the user. It outlives the module and
viam-server and goes with the machine. Where there is no such folder the disk is used, and the config says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..base.filesystem import FileSystem
from ..config import FAILED_SHARE_OF_MEMORY, MEMORY_LIMIT_BYTES, Config, WhenFull
from ..errors import StorageError
from .space.limits import Rules


def placed(files: FileSystem, config: Config) -> Config:
    """`config` with `capture_dir` where it is to be. Touches only memory: no disk is looked at."""
    if not config.in_memory:
        return config
    why = _problem(files, config.memory_dir)
    if why:
        problem = f"capture_store: {why}; captured data is kept on the disk, in {config.capture_dir}"
        return replace(config, in_memory=False, problems=(*config.problems, problem))
    return replace(config, capture_dir=config.memory_dir)


def left_behind(files: FileSystem, before: Config, now: Config) -> str:
    """The folder that would stand for `capture_dir` in the other mode, if there is one: an earlier run may have
    left data there. `before` is the config as it came, `now` as it was placed. Blocks."""
    other = before.capture_dir if now.in_memory else before.memory_dir
    try:
        if not now.in_memory and not files.is_private(other):
            return ""
        return other if any(True for _ in files.list_folder(other)) else ""
    except StorageError:
        return ""


def rules_for(config: Config, priorities: Mapping[str, int], folder: str) -> Rules:
    """Returns the limits that `config` sets for the capture folder `folder`. `priorities` are those of its files,
    by their folder inside the capture folder."""
    limits, most_failed_bytes = config.limits, None
    if folder == config.memory_dir:
        limits = replace(
            limits,
            most_bytes=limits.most_bytes or MEMORY_LIMIT_BYTES,
            when_full=limits.when_full or WhenFull.DROP_OLDEST,
        )
        most_failed_bytes = int((limits.most_bytes or 0) * FAILED_SHARE_OF_MEMORY)
    return Rules(limits, not config.capture_disabled, priorities, most_failed_bytes)


def rules_for_left(config: Config, folder: str) -> Rules:
    """For a folder that an earlier run left: a plain limit was said of the other place and deletes nothing here,
    but memory has its bound always."""
    rules = rules_for(config, {}, folder)
    if folder == config.memory_dir:
        return rules
    return replace(rules, limits=replace(rules.limits, most_bytes=None, most_age_s=None))


def _problem(files: FileSystem, folder: str) -> str:
    """Why captured data can't be kept in `folder`; makes it where it is missing."""
    try:
        files.make_folder(folder)
        if not files.is_in_memory(folder):
            return f"{folder} would not be in memory: there is no tmpfs"
        if not files.is_private(folder):
            return f"{folder} belongs to somebody else, or others have access to it"
    except StorageError as error:
        return str(error)
    return ""
