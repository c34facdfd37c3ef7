"""Decides from a configuration in which folder captured data is kept, and which limits hold there.

Memory mode: `capture_dir` is a folder in Linux's tmpfs, private to the user. It outlives the module and
viam-server, and is gone when the machine restarts. Without such a folder the disk is used, and the config lists
that as a problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..base.filesystem import FileSystem
from ..config import FAILED_SHARE_OF_MEMORY, MEMORY_LIMIT_BYTES, Config, WhenFull
from ..errors import StorageError
from .relocation import is_left
from .space.limits import Rules


def placed(files: FileSystem, config: Config) -> Config:
    """Returns `config` with `capture_dir` set to the folder that is used. Touches only tmpfs, never a disk."""
    if not config.in_memory:
        return config
    why = _problem(files, config.memory_dir)
    if why:
        problem = f"capture_store: {why}; captured data is kept on the disk, in {config.capture_dir}"
        return replace(config, in_memory=False, problems=(*config.problems, problem))
    return replace(config, capture_dir=config.memory_dir)


def left_behind(files: FileSystem, before: Config, now: Config) -> list[str]:
    """Returns the folders in which earlier runs left data: the one that the other mode would use for `capture_dir`,
    and those out of which it could not be moved. `before` is the config before `placed`, `now` after it. Blocks."""
    former = [each for each in now.former_folders if each.is_capture_folder and is_left(files, each)]
    left = dict.fromkeys(each.former for each in former)
    return [*filter(None, [_of_other_mode(files, before, now)]), *left]


def _of_other_mode(files: FileSystem, before: Config, now: Config) -> str:
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
    """Returns the limits for a folder that an earlier run left. The configured bounds of bytes and age are meant
    for the folder in use and delete nothing here, except in memory, which always has a bound."""
    rules = rules_for(config, {}, folder)
    if folder == config.memory_dir:
        return rules
    return replace(rules, limits=replace(rules.limits, most_bytes=None, most_age_s=None))


def _problem(files: FileSystem, folder: str) -> str:
    """Returns why captured data can't be kept in `folder`, empty when it can. Makes the folder if it is missing."""
    try:
        files.make_folder(folder)
        if not files.is_in_memory(folder):
            return f"{folder} would not be in memory: there is no tmpfs"
        if not files.is_private(folder):
            return f"{folder} belongs to another user, or other users have access to it"
    except StorageError as error:
        return str(error)
    return ""
