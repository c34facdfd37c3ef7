"""Reads viam-server's file with the machine's config. Blocks on the disk: belongs on a worker thread."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from ..base.filesystem import FileSystem
from ..config import Card
from ..errors import HoldfastError, RequestError, StorageError
from ..machine_config import Finding, Json, UnreadableConfigError, cards_of, is_fine, substituted

MAX_BYTES = 64 * 1024 * 1024
"""viam-server takes any size. A config of a thousand resources has about one mebibyte."""


class UnknownMachineFileError(RequestError):
    """It is not known where the machine file is, or there is nothing usable in it. The message says why."""


class ConfigOfTheCloudError(UnknownMachineFileError):
    """A local file says only which machine of the cloud this is."""


@dataclass(frozen=True)
class MachineFile:
    """Where viam-server has the machine's config."""

    path: str
    """Absolute."""
    part_id: str = ""
    """The machine's part, whose config the cloud sent; empty for a config that is only on this computer."""
    otherwise: str = ""
    """Where it is if there is no file at `path`; empty if there is no other place."""
    variables: Mapping[str, str] | None = None
    """viam-server's environment, whose variables it put into a local config at its start; None if it is not known,
    and for a config of the cloud, in which it replaces none."""
    started_ns: int | None = None
    """When viam-server was started, in Unix time. A file that was changed later has not got the variables'
    values."""

    @property
    def machine(self) -> str:
        """What is the same for each file of one machine."""
        return self.part_id or self.path


@dataclass(frozen=True)
class Content:
    """What is taken of a machine file."""

    path: str
    """Where it was."""
    digest: bytes
    """Of the whole file: one that was replaced by an equal one is not parsed again."""
    revision: str
    """The config's revision in the cloud; empty for a local one."""
    cards: tuple[Card, ...]
    findings: tuple[str, ...]
    """What is wrong with the cards, and follows from the builtin's rules."""


def read(files: FileSystem, file: MachineFile, known: Content | None) -> Content:
    """Returns what is in the file; `known` itself if the file is still the same.

    Raises UnknownMachineFileError, which quotes nothing of the file, and StorageError.
    """
    path = file.path
    try:
        text, modified_ns = _read(files, path)
    except StorageError as error:
        if error.reason != "no_such_file" or not file.otherwise:
            raise
        path = file.otherwise
        text, modified_ns = _read(files, path)
    digest = hashlib.sha256(text).digest()
    if known is not None and (known.path, known.digest) == (path, digest):
        return known
    config = _parsed(file, path, text, modified_ns)
    if not file.part_id and config.get("cloud"):
        raise ConfigOfTheCloudError(f"{path} says that the cloud has the config, and viam-server tells no part")
    try:
        cards, findings = cards_of(config)
    except UnreadableConfigError as error:
        raise UnknownMachineFileError(f"{path} is no machine's config: {error}") from error
    revision = config.get("revision")
    return Content(
        path, digest, revision if isinstance(revision, str) else "", tuple(cards), _worth_telling(findings)
    )


def _read(files: FileSystem, path: str) -> tuple[bytes, int]:
    """Returns what is in a file, and when it was changed last."""
    try:
        modified_ns = files.stat(path).st_mtime_ns
        return files.read_whole(files.open(path), path, MAX_BYTES), modified_ns
    except ValueError as error:
        raise UnknownMachineFileError(f"{path} is larger than {MAX_BYTES >> 20} MiB") from error


def why(error: BaseException) -> str:
    """Returns why the machine file could not be read. The text of an unforeseen error is left out: it may quote the
    file."""
    return str(error) if isinstance(error, HoldfastError) else f"an unexpected {type(error).__name__}"


def _parsed(file: MachineFile, path: str, content: bytes, modified_ns: int) -> Json:
    """Returns the config. In a local one, the variables have the values that they had at viam-server's start."""
    text = content.decode("utf-8", "replace")
    variables = file.variables
    texts = [text] if variables is None else [text, substituted(text, variables)]
    if file.started_ns is not None and modified_ns < file.started_ns:
        texts.reverse()
    for each in texts:
        try:
            config = json.loads(each)
        except (ValueError, RecursionError):
            continue
        if isinstance(config, dict):
            return config
    raise UnknownMachineFileError(f"{path} is no JSON object, or is only a part of one")


def _worth_telling(findings: list[Finding]) -> tuple[str, ...]:
    return tuple(finding.text for finding in findings if not is_fine([finding]))
