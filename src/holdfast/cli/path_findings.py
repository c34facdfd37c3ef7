"""The findings on the paths in a config: what each one means, and what is there on this computer."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping

from ..base.filesystem import FileSystem
from ..base.words import shown
from ..config import ADDITIONAL_PATHS, Config, ConfiguredPath, Host
from ..errors import StorageError
from ..machine_config import Finding, note, problem
from ..sync.path_check import PathKind, check_path

_HOME = "/<viam-server's HOME>"
_WORKING_FOLDER = "/<viam-server's working folder>"
"""Stand for folders that only a running viam-server knows."""


def machines_host(environment: Mapping[str, str]) -> Host:
    """Returns this host, with a name in place of each folder that only a running viam-server knows."""
    return Host.of({"HOME": _HOME, **environment}, _WORKING_FOLDER)


def findings_on_paths(files: FileSystem, paths: Iterable[ConfiguredPath]) -> list[Finding]:
    """Returns a note on each path that is known. Blocks on the disk."""
    return [note(f"{each.attribute}: {shown(each.written)}{_meaning(files, each)}") for each in paths if each.path]


def findings_on_sync_paths(files: FileSystem, parsed: Config) -> list[Finding]:
    """Returns a finding for each additional sync path that is there and would not be synced, or that is a pattern,
    and for each capture folder that leads to a protected one. Blocks on the disk."""
    findings = []
    for folder in parsed.capture_dirs:
        if where := parsed.protected.where_it_leads(folder):
            findings.append(note(f"on this computer {folder} leads to {where}: nothing would be synced from there"))
    for path in parsed.additional_sync_paths:
        found = check_path(files, path, parsed.protected_with_copy)
        if found.kind in (PathKind.PATTERN, PathKind.OTHER):
            findings.append(problem(f"{ADDITIONAL_PATHS}: {found.problem}"))
        elif found.problem and found.kind is not PathKind.MISSING:
            findings.append(note(f"{ADDITIONAL_PATHS}: on this computer {found.problem}"))
    return findings


def _meaning(files: FileSystem, configured: ConfiguredPath) -> str:
    written, path = configured.written, configured.path
    if path.startswith(_WORKING_FOLDER):
        return (
            f" is {path}; viam-server's working folder is the one in which it is started: with systemd "
            "WorkingDirectory=, or / without it"
        )
    if path.startswith(_HOME):
        return f" is {path}; viam-server's HOME is that of its user, with viam-agent /root"
    means = "" if written == path else f" is {path}"
    if written.startswith("~"):
        means += ", if viam-server has the HOME of this command"
    return f"{means}; on this computer {_state(files, path)}"


def _state(files: FileSystem, path: str) -> str:
    """Returns what is at a path, as what follows the words "on this computer"."""
    try:
        if not files.exists(path):
            above = os.path.dirname(path)
            while not files.exists(above):
                above = os.path.dirname(above)
            return f"it is not there{_rights(files, above, f', and cannot be made in {above}')}"
        kind = "a folder" if stat.S_ISDIR(files.stat(path).st_mode) else "a file"
        return f"it is {kind}{_rights(files, path, ' that this user cannot write')}"
    except StorageError as error:
        return f"it is not known: {error}"


def _rights(files: FileSystem, path: str, otherwise: str) -> str:
    return "" if files.is_writable(path) else otherwise
