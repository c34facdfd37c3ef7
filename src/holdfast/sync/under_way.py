"""The uploads that are under way, and the manual syncs that wait for them. Belongs to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..base.tasks import begin
from ..storage.store import Store, store_of
from .found import Found, Outcome
from .manual import SyncReport


@dataclass(eq=False)
class Upload:
    """An attempt to deliver files of one folder together."""

    founds: Sequence[Found]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """What became of the files so far, by path."""
    task: asyncio.Task[None] = field(init=False)
    """Set by `start`, right after `UnderWay.begin_upload`."""
    waiting: dict[SyncReport, set[str]] = field(default_factory=dict)
    """The manual syncs that wait for the upload, by their reports, and the paths that each waits for."""
    _store: Store | None = field(default=None, init=False)

    def start(self, work: Coroutine[Any, Any, None], on_end: Callable[[], None]) -> None:
        """Runs `work` as the upload's task, and then calls `on_end`, even if the task is cancelled before it
        begins."""
        self.task = begin(work, "holdfast-upload-files")
        self.task.add_done_callback(lambda _: on_end())

    def note_outcomes(self, outcomes: Mapping[str, Outcome]) -> None:
        """Notes what became of files, by path."""
        self.outcomes.update(outcomes)

    def decide_store(self, stores: Sequence[Store]) -> Store:
        """Returns the store that the files belong to, and keeps it: a new configuration changes nothing any
        more."""
        self._store = store_of(stores, self.founds[0].path)
        return self._store

    def concerns(self, store: Store) -> bool:
        """Whether the files belong to `store`, or lie in it."""
        return self._store is store or any(store.holds(found.path) for found in self.founds[:1])

    def founds_by_outcome(self) -> Iterator[tuple[Outcome, list[Found]]]:
        """Yields each outcome with its files. Files that were not tried have none."""
        for outcome in Outcome:
            founds = [found for found in self.founds if self.outcomes.get(found.path) is outcome]
            if founds:
                yield outcome, founds


class UnderWay:
    """The uploads under way. A file is in one of them at most, however many rounds find it."""

    def __init__(self) -> None:
        self._uploads: dict[str, Upload] = {}

    def __len__(self) -> int:
        """Returns how many files are under way."""
        return len(self._uploads)

    def __iter__(self) -> Iterator[str]:
        """Yields the paths of the files that are under way."""
        return iter(self._uploads)

    def __contains__(self, path: str) -> bool:
        return path in self._uploads

    def begin_upload(self, founds: Iterable[Found]) -> Upload:
        """Returns an upload of those of `founds` that are in no other; the caller calls `end_upload` when it is
        over."""
        upload = Upload(list({found.path: found for found in founds if found.path not in self._uploads}.values()))
        self._uploads |= dict.fromkeys([found.path for found in upload.founds], upload)
        return upload

    def end_upload(self, upload: Upload) -> None:
        """Removes the upload, and notes its outcomes in the reports that wait for it. A file without an outcome
        counts as failed."""
        for found in upload.founds:
            del self._uploads[found.path]
        for report, paths in upload.waiting.items():
            for found in upload.founds:
                if found.path in paths:
                    report.note_outcome(found, upload.outcomes.get(found.path, Outcome.WAITING))

    def notify(self, report: SyncReport, founds: Iterable[Found]) -> None:
        """Makes `report` wait for files that are under way. It waits for each once, however often this is
        called."""
        for found in founds:
            paths = self._uploads[found.path].waiting.setdefault(report, set())
            if found.path not in paths:
                paths.add(found.path)
                report.note_begun()

    def tasks(self, store: Store | None = None) -> set[asyncio.Task[None]]:
        """Returns the tasks of all uploads, or of those that concern `store`."""
        uploads = self._uploads.values()
        return {upload.task for upload in uploads if store is None or upload.concerns(store)}

    def unwanted_tasks(self) -> set[asyncio.Task[None]]:
        """Returns the tasks of the uploads for which no manual sync waits."""
        return {upload.task for upload in self._uploads.values() if not upload.waiting}
