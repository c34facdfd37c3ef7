"""What a walk tells of a store, beside the files to send.

A collector's folder without a file, though the ledger knows readings there: somebody took them away. A `.prog` file
that nobody writes: a crash left it. Nothing at all: a folder that is given up may be released.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from ...storage.store import Store
from .walk import Walk


class Audit:
    """Made before the walk, finished after it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._round = store.begin_round()
        self._before = store.ledger.readings()
        # after the counts: what has its name by now is found
        self._waiting = {*store.writer.completion.collectors(), *store.ledger.returning_collectors()}

    def finish(self, walk: Walk, uploading: Collection[str]) -> None:
        """`walk` of everything is exhausted; `uploading` are the files that are being sent. Blocks."""
        store = self._store
        store.found_in_progress(walk.in_progress.first)
        if walk.whole and store.recovered_all:
            folders = {*walk.capture_folders, *map(os.path.dirname, uploading)}
            store.ledger.reconcile(self._before, folders, self._waiting)
        if not walk.has_files(store.root) and not any(map(store.holds, uploading)):
            store.found_empty(self._round)
