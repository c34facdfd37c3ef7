"""The command `failed`: lists the files in quarantine, puts them back to be sent again, or discards them.

Files leave quarantine `BATCH` at a time, and for one command at a time. They are counted in the ledger of the
capture folder in which they lie, or of the main one.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..base.bounded import Listed
from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.tasks import in_thread
from ..base.words import escaped, shown
from ..errors import CommandError, NotReadyError, StorageError
from ..manager import Manager
from ..storage.ledger.ledger import Ledger
from ..storage.quarantine.listing import MAX_ROWS, QuarantinedFile, list_page, quarantined_files
from ..storage.quarantine.removal import BATCH, QuarantineRemoval, RemovalResult
from .command import Argument, Arguments, Command, flag, number, one_of, text, texts
from .job import WAIT, answer_of

_LIST, _RETRY, _DISCARD = "list", "retry", "discard"

logger = logging.getLogger(__name__)


@dataclass
class _NamedFiles:
    """Tells whether a file is one that the caller named; without names, every file is. Notes which names it saw."""

    names: dict[str, str]
    """The names as they are shown, each with what the caller gave: that, or the name as it is."""
    seen: set[str] = field(default_factory=set)

    def __call__(self, file: QuarantinedFile) -> bool:
        found = self.names.keys() & set(file.names())
        self.seen |= found
        return bool(found) or not self.names

    @property
    def not_found(self) -> list[str]:
        return [given for name, given in self.names.items() if name not in self.seen]


@dataclass
class _QuarantineReport:
    """What a job has done so far. It names the first hundred files that stay in quarantine."""

    action: str
    meant: _NamedFiles
    files: int = 0
    bytes: int = 0
    readings: int = 0
    kept: Listed[dict[str, str]] = field(default_factory=Listed)

    def add(self, result: RemovalResult) -> None:
        if not result.why:
            self.files += 1
            self.bytes += result.size_bytes
            self.readings += result.readings
            return
        self.kept.add({"path": result.file.path, "why": result.why})

    def figures(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "files": self.files,
            "bytes": self.bytes,
            "readings": self.readings,
            "kept_count": self.kept.count,
            "kept": list(self.kept.first),
            "not_found": self.meant.not_found,
        }


async def _failed(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    if manager.engine is None:
        raise CommandError("the data manager is not configured yet")
    action, paths = arguments["action"], arguments["paths"]
    if paths and arguments["all"]:
        raise CommandError("give either paths or all, not both")
    meant = _NamedFiles({escaped(path): path for path in paths})
    if action == _LIST:
        return await _list(manager, meant, arguments["after"], int(arguments["limit"]))
    if action == _DISCARD and not paths and not arguments["all"]:
        raise CommandError('discard deletes for good: name the paths, or say "all": true')
    await manager.ready_engine()
    report = _QuarantineReport(action, meant)
    job = await manager.jobs.start("failed", lambda: _run(manager, report), report.figures)
    return await answer_of(job, arguments)


async def _list(manager: Manager, meant: _NamedFiles, after: str, limit: int) -> dict[str, Any]:
    found = quarantined_files(manager.files, manager.capture_roots, manager.other_roots)
    with manager.quarantine_lists.taken():
        async with manager.listing_quarantine:
            page = await in_thread(list_page, manager.files, found, meant, escaped(after), limit)
    return {"files": page.files, "rows": page.rows, "next": page.next, "not_found": meant.not_found}


async def _run(manager: Manager, report: _QuarantineReport) -> None:
    """Takes the named files out of quarantine, after any other such job has ended.

    Raises NotReadyError when the data manager was stopped meanwhile.
    """
    async with manager.emptying_quarantine:
        if manager.engine is None:
            raise NotReadyError("the data manager was stopped")
        stores = [store for store in manager.engine.stores.all if store.owned]
        ledgers = {store.root: store.ledger for store in stores}
        main = manager.engine.store.ledger

        def ledger_of(file: QuarantinedFile) -> Ledger:
            return ledgers.get(file.root, main)

        removal = QuarantineRemoval(manager.files, ledger_of)
        remove = removal.put_back if report.action == _RETRY else removal.discard
        found = quarantined_files(manager.files, list(ledgers), manager.other_roots)
        meant = _there_since(manager.files, manager.clock, (file for file in found if report.meant(file)))
        while batch := await asyncio.to_thread(lambda: list(itertools.islice(meant, BATCH))):
            for result in await in_thread(remove, batch):
                report.add(result)
    if report.files:
        if manager.engine is not None:
            manager.engine.uplink.rounds.backlog.look_soon()
        what = "put back, to be sent again" if report.action == _RETRY else "discarded by command"
        logger.warning("%d files in quarantine were %s; %d stay", report.files, what, report.kept.count)


def _there_since(files: FileSystem, clock: Clock, found: Iterator[QuarantinedFile]) -> Iterator[QuarantinedFile]:
    """Leaves out files that come into quarantine from now on.

    The cloud may refuse a file that is put back at once, and it must not be put back again without end.
    """
    begin_ns = clock.time_ns()
    for file in found:
        try:
            moved_ns = files.stat(file.path).st_ctime_ns
        except StorageError:
            continue
        if not begin_ns <= moved_ns <= clock.time_ns():
            yield file


def _limit(name: str, value: Any) -> float:
    found = number(name, value)
    if not 1 <= found <= MAX_ROWS or found != int(found):
        raise CommandError(f"{name} must be a whole number from 1 to {MAX_ROWS}, not {shown(value)}")
    return found


def _after(name: str, value: Any) -> str:
    """Accepts an empty text too, which is the `next` of the last page."""
    return "" if value == "" else text(name, value)


FAILED = Command(
    "failed",
    "lists files that could not be delivered, with the cause; sends them again; or discards them",
    _failed,
    (
        Argument("action", one_of(_LIST, _RETRY, _DISCARD), "list, retry or discard", required=True),
        Argument("paths", texts, "only these files, as list returns them, or folders; all if left out", default=()),
        Argument("all", flag, "true: all files; discard requires this or paths", default=False),
        Argument("limit", _limit, f"how many rows to list: 100 by default, at most {MAX_ROWS}", default=100),
        Argument("after", _after, "list continues after this path, the `next` of the previous page", default=""),
        *WAIT,
    ),
)
