"""What is being uploaded, and who waits for which of it. Belongs to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..storage.store import Store, store_of
from .found import Found, Outcome
from .manual import SyncReport


@dataclass(eq=False)
class Upload:
    """Of files of one folder that go together."""

    founds: Sequence[Found]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """What became of the files so far, by path."""
    task: asyncio.Task[None] = field(init=False)
    """Set by `start`, right after `UnderWay.begin_upload`."""
    waiting: dict[SyncReport, set[str]] = field(default_factory=dict)
    """Who waits for which of the paths."""
    _store: Store | None = field(default=None, init=False)

    def start(self, work: Coroutine[Any, Any, None], on_end: Callable[[], None]) -> None:
        """Runs `work` as the upload's task; `on_end` is called even if that is cancelled before it begins."""
        self.task = asyncio.get_running_loop().create_task(work)
        self.task.add_done_callback(lambda _: on_end())

    def note_outcomes(self, outcomes: Mapping[str, Outcome]) -> None:
        """Notes what became of files, by path."""
        self.outcomes.update(outcomes)

    def decide_store(self, stores: Sequence[Store]) -> Store:
        """Returns the store that the files belong to, from now on whatever becomes of the configuration."""
        self._store = store_of(stores, self.founds[0].path)
        return self._store

    def concerns(self, store: Store) -> bool:
        """Whether the files belong to `store`, or lie in it."""
        return self._store is store or any(store.holds(found.path) for found in self.founds[:1])

    def founds_by_outcome(self) -> Iterator[tuple[Outcome, list[Found]]]:
        """What became of them; those that were not tried came to no end."""
        for outcome in Outcome:
            founds = [found for found in self.founds if self.outcomes.get(found.path) is outcome]
            if founds:
                yield outcome, founds


class UnderWay:
    """A file is under way once only."""

    def __init__(self) -> None:
        self._uploads: dict[str, Upload] = {}

    def __len__(self) -> int:
        """How many files are under way."""
        return len(self._uploads)

    def __iter__(self) -> Iterator[str]:
        """Their paths."""
        return iter(self._uploads)

    def __contains__(self, path: str) -> bool:
        return path in self._uploads

    def begin_upload(self, founds: Iterable[Found]) -> Upload:
        """An upload of those of `founds` that are in no other; `end` is to be called when it is over."""
        upload = Upload(list({found.path: found for found in founds if found.path not in self._uploads}.values()))
        self._uploads |= dict.fromkeys([found.path for found in upload.founds], upload)
        return upload

    def end_upload(self, upload: Upload) -> None:
        """What it has brought is told to those who wait for it; what has no outcome stays to be sent."""
        for found in upload.founds:
            del self._uploads[found.path]
        for report, paths in upload.waiting.items():
            for found in upload.founds:
                if found.path in paths:
                    report.note_outcome(found, upload.outcomes.get(found.path, Outcome.WAITING))

    def notify(self, report: SyncReport, founds: Iterable[Found]) -> None:
        """Lets `report` hear of files that are under way, once of each however often it is told."""
        for found in founds:
            told = self._uploads[found.path].waiting.setdefault(report, set())
            if found.path not in told:
                told.add(found.path)
                report.note_begun()

    def tasks(self, store: Store | None = None) -> set[asyncio.Task[None]]:
        """The tasks of all uploads, or of those that concern `store`."""
        uploads = self._uploads.values()
        return {upload.task for upload in uploads if store is None or upload.concerns(store)}

    def unwanted_tasks(self) -> set[asyncio.Task[None]]:
        """The tasks of the uploads for which nobody waits."""
        return {upload.task for upload in self._uploads.values() if not upload.waiting}
