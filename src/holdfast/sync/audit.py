"""What a walk of everything tells of the capture folder, beside the files to send.

A collector's folder without a file, though the ledger knows readings there: somebody took them away. A `.prog` file
that nobody writes: a crash left it.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..storage.store import Store
from .walker import Walk


class Audit:
    """Made before the walk, finished after it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._before = store.ledger.readings()
        self._waiting = store.writer.completion.collectors()  # after the counts: what has its name by now is found

    def finish(self, walk: Walk, uploading: Iterable[str]) -> None:
        """`walk` is exhausted; `uploading` are the folders of the files that are being sent. Blocks."""
        self._store.found_in_progress(walk.in_progress)
        if walk.whole and self._store.recovered_all:
            self._store.ledger.reconcile(self._before, {*walk.capture_folders, *uploading}, self._waiting)
