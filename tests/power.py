"""A file system that a power cut hits: it forgets and reorders what was not synced.

Writes go to real files, so readers see them as on any system. What a cut leaves follows what disks and journaling
file systems promise, and no more: what was there at the last sync, names included; of each change since then, any
subset in any order. New bytes of a file may be there, be missing from some point on, or be zeros.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from holdfast.filesystem import FileSystem

Choose = Callable[[int], int]
"""Gives a number from 0 up to the argument, both included."""


class ForgetfulFileSystem(FileSystem):
    """Remembers by inode what a sync made safe. One folder, `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._safe: dict[int, bytes] = {}
        self._safe_names: dict[str, int] = {}
        self._off = False

    def sync(self, folder: str) -> None:
        with self._lock:
            if self._off:
                return
            self._safe, self._safe_names = {}, {}
            for path in self._files():
                inode = path.stat().st_ino
                self._safe[inode] = path.read_bytes()
                self._safe_names[str(path)] = inode

    def write(self, descriptor: int, path: str, data: bytes) -> None:
        with self._lock:
            if not self._off:
                super().write(descriptor, path, data)

    def create(self, path: str) -> int:
        with self._lock:
            return os.open(os.devnull, os.O_WRONLY) if self._off else super().create(path)

    def rename(self, source: str, target: str) -> None:
        with self._lock:
            if not self._off:
                super().rename(source, target)

    def remove(self, path: str) -> None:
        with self._lock:
            if not self._off:
                super().remove(path)

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
            survivors: dict[str, bytes] = {}
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
                    survivors[name] = self._torn(self._safe.get(inode, b""), content.get(inode), choose)
        for path in self._root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, data in survivors.items():
            os.makedirs(os.path.dirname(name), exist_ok=True)
            Path(name).write_bytes(data)
            os.utime(name, (1, 1))

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

    def _files(self) -> list[Path]:
        return [path for path in self._root.rglob("*") if path.is_file()]
