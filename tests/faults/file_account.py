"""`FileAccount` judges arbitrary files: what was put into a sync path, changed and removed there, and what arrived.

The last version of a file that arrived must be its last version on disk. Before that, a file that was changed may
have arrived in an earlier version, or mixed, since it is sent again whole. A file may arrive again only if its call
was under way at an interruption (see `calls`), or if it was changed between being found and being sent.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from viam.proto.app.datasync import UploadMetadata

from .calls import Calls
from .labels import Labels

_MOST_BYTES = 300_000
_MOST_EXAMPLES = 12


@dataclass
class _File:
    """One file. `versions` are the hashes of all its contents so far, and `arrived` those of what arrived."""

    path: Path
    versions: list[str]
    arrived: list[str] = field(default_factory=list)
    removed: bool = False


@dataclass
class FileVerdict:
    """The totals of a run for arbitrary files. It is `good` if everything that must be zero or empty is."""

    put: int = 0
    changed: int = 0
    removed: int = 0
    arrived: int = 0
    lost: int = 0
    twice: int = 0
    twice_beyond: int = 0
    altered: int = 0
    invented: int = 0
    miscounted: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.twice_beyond or self.altered or self.invented or self.miscounted)

    @property
    def wrong(self) -> list[str]:
        """Everything that is wrong, in words."""
        return [*self.miscounted, *self.examples]


class FileAccount:
    """Puts, changes and removes files in `folder`, a sync path of its own, and judges what arrives."""

    def __init__(self, folder: Path, calls: Calls, labels: Labels | None = None) -> None:
        """`labels` is the metadata that uploads must have; None: it is not judged."""
        self.folder = folder
        self._labels = labels
        self._mislabelled: list[str] = []
        self._calls = calls
        self._files: dict[str, _File] = {}
        self._strangers: list[str] = []
        folder.mkdir(exist_ok=True)

    def put(self, rng: random.Random) -> str:
        """Writes a new file; returns its name."""
        name = f"file-{len(self._files)}.bin"
        content = rng.randbytes(rng.randint(1, _MOST_BYTES))
        path = self.folder / name
        path.write_bytes(content)
        self._files[name] = _File(path, [_hash(content)])
        return name

    def append(self, name: str, rng: random.Random) -> bool:
        """Makes a file longer. Returns False when it is gone."""
        file = self._files[name]
        try:
            with file.path.open("r+b") as stream:
                content = stream.read() + rng.randbytes(100)
                stream.seek(0)
                stream.write(content)
        except FileNotFoundError:
            return False
        file.versions.append(_hash(content))
        return True

    def remove(self, name: str) -> bool:
        """Removes a file. Returns False when it is gone."""
        file = self._files[name]
        try:
            file.path.unlink()
        except FileNotFoundError:
            return False
        file.removed = True
        return True

    @property
    def there(self) -> list[str]:
        """The names of the files that are in the folder."""
        return [name for name, file in self._files.items() if file.path.exists()]

    def note_file(self, about: UploadMetadata, path: Path) -> None:
        """Notes a file that arrived; to be passed to `LocalCloud(on_file=…)`."""
        file = self._files.get(Path(about.file_name).name)
        if file is None:
            self._strangers.append(about.file_name)
            return
        self._calls.carries(("file", file.path.name))
        if self._labels is not None and (wrong := self._labels.wrong(about, time.time_ns())):
            self._mislabelled.append(f"altered: {file.path.name}: {', '.join(wrong)}")
        file.arrived.append(_hash(path.read_bytes()))

    def verdict(self, ledger: Mapping[str, Any] | None) -> FileVerdict:
        """Judges everything until now; it should be called when nothing is under way any more.

        `ledger` is the counts of files in the status at the end; None: they are not judged.
        """
        verdict = FileVerdict(put=len(self._files), invented=len(self._strangers), altered=len(self._mislabelled))
        verdict.examples += [f"invented: {each}" for each in self._strangers] + self._mislabelled
        allowed, _ = self._calls.repeatable()
        for name, file in self._files.items():
            self._judge(name, file, allowed["file", name], verdict)
        if ledger is not None:
            verdict.miscounted = self._miscounted(ledger)
        del verdict.examples[_MOST_EXAMPLES:]
        return verdict

    def _judge(self, name: str, file: _File, allowed: int, verdict: FileVerdict) -> None:
        changes = len(file.versions) - 1
        last = file.versions[-1]
        again = max(0, file.arrived.count(last) - 1)
        verdict.changed += changes > 0
        verdict.removed += file.removed
        verdict.arrived += len(file.arrived)
        verdict.twice += again
        if again > allowed + changes:
            verdict.twice_beyond += again - allowed - changes
            verdict.examples.append(f"{again + 1} times: {name}, {self._calls.story_of(('file', name))}")
        if not file.arrived and not file.removed:
            verdict.lost += 1
            verdict.examples.append(f"lost: {name}")
        strange = [each for each in file.arrived if each not in file.versions]
        if (strange and not changes) or (file.arrived and file.arrived[-1] != last and not file.removed):
            verdict.altered += 1
            verdict.examples.append(f"altered: {name}: {file.arrived} arrived, it was {file.versions}")

    def _miscounted(self, ledger: Mapping[str, Any]) -> list[str]:
        """Returns what is wrong in the module's counts.

        It may be unknown whether a removed file was sent before, also to the module.
        """
        whole = sum(1 for file in self._files.values() if not file.removed)
        removed = len(self._files) - whole
        facts = {
            f"{whole} files are delivered, and at most {removed} more": (
                0 <= ledger["delivered"] - whole <= removed
            ),
            f"at most {removed} files have vanished": ledger["vanished"] <= removed,
            "no file is quarantined": not ledger["quarantined"],
        }
        return [
            f"miscounted: files: not so that {fact}: {dict(ledger)}" for fact, holds in facts.items() if not holds
        ]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
