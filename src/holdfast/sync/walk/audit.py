"""Draws the conclusions for a store from a walk of its whole folder.

- A collector's folder has no file although the ledger counts readings there: another process removed them.
- A `.prog` file is not open in this process: a crash left it, and recovery has to look at it.
- The folder has no file to send: a former capture folder that drains may be released.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from ...storage.store import Store
from .walk import Walk


class Audit:
    """The audit of one store. It must be created before the walk begins and finished after the walk has ended."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._round = store.begin_round()
        self._before = store.ledger.readings()
        # read after the counts: a file that no longer waits for its final name has it by then, so the walk finds it
        self._waiting = {*store.writer.completion.collectors(), *store.ledger.returning_collectors()}

    def finish(self, walk: Walk, uploading: Collection[str]) -> None:
        """Reports to the store what `walk` found.

        The walk must have covered all sync paths and be exhausted. `uploading` are the files that are being sent.
        Blocks on the disk; runs on a worker thread.
        """
        store = self._store
        store.found_in_progress(walk.in_progress.first)
        if walk.whole and store.recovered_all:
            folders = {*walk.capture_folders, *map(os.path.dirname, uploading)}
            store.ledger.reconcile(self._before, folders, self._waiting)
        if not walk.has_files(store.root) and not any(map(store.holds, uploading)):
            store.found_empty(self._round)
