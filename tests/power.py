"""A file system that a power cut hits: it forgets and reorders what was not synced.

Writes go to real files, so readers see them as on any system. What a cut leaves follows what disks and journaling
file systems promise, and no more: what was there at the last sync, names included; of each change since then, any
subset in any order. New bytes of a file may be there, be missing from some point on, or be zeros. A file that was
replaced is there in its old or in a newer state, each with all that was synced of it.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from holdfast.base.at import Identity
from holdfast.base.filesystem import Buffer, FileSystem

Choose = Callable[[int], int]
"""Gives a number from 0 up to the argument, both included."""


class ForgetfulFileSystem(FileSystem):
    """Remembers by inode what a sync made safe. One folder, `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._safe: dict[int, bytes] = {}
        self._safe_times_ns: dict[int, int] = {}
        self._safe_names: dict[str, int] = {}
        self._replaced: dict[str, list[int]] = {}
        self._held: dict[int, int] = {}  # files without a name, kept open so that nobody gets their inode
        self._off = False

    def sync(self, folder: str) -> None:
        with self._lock:
            if self._off:
                return
            self._safe, self._safe_names = {}, {}
            self._safe_times_ns, self._replaced = {}, {}
            self._let_go()
            for path in self._files():
                status = path.stat()
                self._safe[status.st_ino] = path.read_bytes()
                self._safe_times_ns[status.st_ino] = status.st_mtime_ns
                self._safe_names[str(path)] = status.st_ino

    def write(self, descriptor: int, path: str, data: Buffer) -> None:
        with self._lock:
            if not self._off:
                super().write(descriptor, path, data)

    def create(self, path: str) -> int:
        with self._lock:
            return os.open(os.devnull, os.O_WRONLY) if self._off else super().create(path)

    def truncate(self, path: str, size_bytes: int) -> None:
        with self._lock:
            if not self._off:
                super().truncate(path, size_bytes)

    def rename(self, source: str, target: str, identity: Identity | None = None) -> None:
        with self._lock:
            if not self._off:
                self._hold(target)
                super().rename(source, target, identity)

    def remove(self, path: str, identity: Identity | None = None) -> None:
        with self._lock:
            if not self._off:
                self._hold(path)
                super().remove(path, identity)

    def replace(self, path: str, data: bytes) -> None:
        """The content is safe, since it is synced before the rename; the name is the old or the new file's."""
        with self._lock:
            if not self._off:
                super().replace(path, data)
                inode = os.stat(path).st_ino
                self._safe[inode] = data
                self._replaced.setdefault(path, []).append(inode)

    def open_to_append(self, path: str) -> int:
        with self._lock:
            return os.open(os.devnull, os.O_WRONLY) if self._off else super().open_to_append(path)

    def make_folder(self, path: str) -> None:
        with self._lock:
            if not self._off:
                super().make_folder(path)

    def cut_power(self, choose: Choose) -> None:
        """Turns `root` into what is found after a power cut at this moment.

        The process is gone with the power: what it still does through this object goes nowhere.
        """
        with self._lock:
            self._off = True
            now = {str(path): path.stat().st_ino for path in self._files()}
            content = {path.stat().st_ino: path.read_bytes() for path in self._files()}
            survivors: dict[str, tuple[bytes, int]] = {}
            for path, newer in self._replaced.items():
                older = self._safe_names.pop(path, None)
                states = [older, *newer]
                kept = choose(len(states) - 1)
                inode = states[kept]
                if inode is not None:
                    data = content[inode] if inode in content else self._read_held(inode)
                    survivors[path] = self._survivor(inode, data, choose)
                if kept + 1 < len(states) and choose(1):  # the next one was synced and not renamed
                    survivors[path + ".new.prog"] = self._safe[newer[kept]], 1
                for inode in filter(None, states):
                    content.pop(inode, None)
                    self._safe.pop(inode, None)
            for inode in sorted({*self._safe, *content}):
                old_names = [name for name, owner in self._safe_names.items() if owner == inode]
                new_names = [name for name, owner in now.items() if owner == inode]
                # A rename or a removal is there or not; a file that was never synced may not be there at all.
                names = [*old_names, *new_names] or [""]
                if not old_names:
                    names.append("")
                if old_names and not new_names:
                    names.append("")
                name = names[choose(len(names) - 1)]
                if name:
                    survivors[name] = self._survivor(inode, content.get(inode), choose)
            self._let_go()
        for left in self._root.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        for name, (data, time_ns) in survivors.items():
            os.makedirs(os.path.dirname(name), exist_ok=True)
            Path(name).write_bytes(data)
            os.utime(name, ns=(time_ns, time_ns))

    def _survivor(self, inode: int, now: bytes | None, choose: Choose) -> tuple[bytes, int]:
        """The content of a file after the cut and when it was changed, which a sync makes safe too."""
        safe = self._safe.get(inode, b"")
        left = self._torn(safe, now, choose)
        return left, self._safe_times_ns.get(inode, 1) if left == safe else 1

    @staticmethod
    def _torn(safe: bytes, now: bytes | None, choose: Choose) -> bytes:
        if now is None or now == safe:
            return safe
        if not now.startswith(safe):
            return (safe, now)[choose(1)]
        new = now[len(safe) :]
        kept = choose(len(new))
        zeros = choose(len(new) - kept) if choose(1) else 0
        return safe + new[:kept] + bytes(zeros)

    def _hold(self, path: str) -> None:
        """Keeps the file at `path` from being freed when it loses its name."""
        if os.path.exists(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._held[os.fstat(descriptor).st_ino] = descriptor

    def _read_held(self, inode: int) -> bytes:
        descriptor = self._held[inode]
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    def _let_go(self) -> None:
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def _files(self) -> list[Path]:
        return [path for path in self._root.rglob("*") if path.is_file()]
